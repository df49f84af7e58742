"""The official Metaworld environments: the oracle of tests, and what benchmarks are compared with."""

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from rcjax.envs.scenes import set_official_weld


def make_official(task: str, seed: int, *, goal_hidden: bool = True) -> SawyerXYZEnv:
    """The official environment, seeded and ready for `reset`.

    MuJoCo 3.17 has 12 numbers to a weld where the official code sets 11; only that assignment is replaced.
    """

    def reset_mocap_welds(self):
        set_official_weld(self.model)

    base = ALL_V3_ENVIRONMENTS[f"{task}-v3"]
    env = type(base.__name__, (base,), {"reset_mocap_welds": reset_mocap_welds})()
    env._set_task_called = True
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._partially_observable = goal_hidden
    env.__dict__.pop("sawyer_observation_space", None)  # cached before the goal was shown
    env.seed(seed)
    return env


def reset_to(env: SawyerXYZEnv, random_vector: np.ndarray) -> np.ndarray:
    """The first observation of an episode from this vector, as a task of Metaworld's benchmarks fixes it."""
    env._freeze_rand_vec = True
    env._last_rand_vec = random_vector
    obs, _ = env.reset()
    return obs
