"""Environments by name: `env, params = make("drawer-close")`.

`gymnax.make("Metaworld/drawer-close-v3")` builds the same; `brax_adapter.BraxEnv` puts it behind Brax's interface.

Every environment is a gymnax 1.0 `Environment` on MJX, with the scene edited for it (`scenes`), reset states
prepared by the official procedure, and what RoboCLIP needs besides: `env.mj_model`, `env.geom_poses(state)`,
`env.prompt`, `env.camera`.
"""

import contextlib
import functools
import io
from collections.abc import Sequence

with contextlib.redirect_stdout(io.StringIO()):  # without the optional warp, importing MJX prints two complaints
    import mujoco.mjx  # noqa: F401

from rcjax.envs.mjx_env import DEFAULT_SEEDS, EnvParams, EnvState, MjxEnv
from rcjax.envs.physics import Poses
from rcjax.envs.registry import MT50, PAPER_TASKS, TASKS, canonical_name, register_with_gymnax

__all__ = [
    "MT50", "PAPER_TASKS", "TASKS", "EnvParams", "EnvState", "MjxEnv", "Poses", "canonical_name", "make",
]  # fmt: skip

register_with_gymnax()


@functools.lru_cache(maxsize=16)
def _make_env(name: str, options: tuple) -> MjxEnv:
    return TASKS[name](**dict(options))


def make(
    task: str,
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    random_source: str = "metaworld",
    goal_hidden: bool = True,
    max_steps: int = 128,
    reward_version: str = "v2",
    backend: str = "jax",
) -> tuple[MjxEnv, EnvParams]:
    """The environment and its default parameters.

    `seeds` and `random_source` choose the bank of reset states, index i being the official reset of seeds[i]
    (`SawyerEnv.random_vector` says whose seeding). `reward_version` is Metaworld's: "v2", its default, or "v1".
    `backend` is MJX's: "jax" runs everywhere, "warp" where MJX-Warp is installed. Equal options give the same
    environment object, so that compiled programs are shared.

    Raises ValueError for an unknown task, backend or reward version.
    """
    name = canonical_name(task)
    options = {
        "goal_hidden": goal_hidden,
        "max_steps": max_steps,
        "reward_version": reward_version,
        "backend": backend,
    }
    env = _make_env(name, tuple(options.items()))
    return env, env.make_params(env.build_reset_bank(seeds, random_source))
