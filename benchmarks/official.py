"""The official Metaworld environments: the oracle of tests and the baseline of benchmarks."""

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from rcjax.envs.scenes import set_official_weld


def make_official(task: str, seed: int, *, goal_hidden: bool = True) -> SawyerXYZEnv:
    """Returns the official environment, seeded and ready for `reset`.

    MuJoCo 3.17 has 12 numbers per weld and the official code sets 11; only that assignment is replaced.
    """

    def reset_mocap_welds(self):
        set_official_weld(self.model)

    base = ALL_V3_ENVIRONMENTS[f"{task}-v3"]
    env = type(base.__name__, (base,), {"reset_mocap_welds": reset_mocap_welds})()
    env._set_task_called = True
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env._partially_observable = goal_hidden
    env.__dict__.pop("sawyer_observation_space", None)  # it was cached while the goal was hidden
    env.seed(seed)
    return env


def reset_to(env: SawyerXYZEnv, random_vector: np.ndarray) -> np.ndarray:
    """Resets to this random vector, as tasks of Metaworld's benchmarks do, and returns the first observation."""
    env._freeze_rand_vec = True
    env._last_rand_vec = random_vector
    obs, _ = env.reset()
    return obs
