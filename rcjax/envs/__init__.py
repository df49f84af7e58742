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

from rcjax.checks import require_one_of
from rcjax.envs.metaworld.sawyer import RANDOM_SOURCES, require_options
from rcjax.envs.mjx_env import DEFAULT_SEEDS, EnvParams, EnvState, MjxEnv
from rcjax.envs.physics import Poses
from rcjax.envs.registry import MT50, PAPER_TASKS, TASKS, canonical_name, choose_goal_hidden, register_with_gymnax

__all__ = [
    "MT50", "PAPER_TASKS", "TASKS", "EnvParams", "EnvState", "MjxEnv", "Poses", "canonical_name", "choose_goal_hidden",
    "make",
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
    goal_hidden: bool | None = None,
    max_steps: int = 128,
    reward_version: str = "v2",
    backend: str = "jax",
) -> tuple[MjxEnv, EnvParams]:
    """The environment and its default parameters.

    `seeds` and `random_source` choose the bank of reset states, index i being the official reset of seeds[i]
    (`SawyerEnv.random_vector` says whose seeding); a seed that is named twice is drawn twice as often. `goal_hidden`
    says whether observations show zeros for the goal: by default they do, unless the task is named as in Metaworld's
    "drawer-close-v3-goal-observable". `reward_version` is Metaworld's: "v2", its default, or "v1".
    `backend` is MJX's: "jax" runs everywhere, "warp" where MJX-Warp is installed. Equal options give the same
    environment object, so that compiled programs are shared.

    Raises ValueError for an unknown task, backend or reward version, and for an option of another kind or size than it
    can have.
    """
    name = canonical_name(task)
    require_options(max_steps, backend, reward_version)
    require_one_of("random_source", random_source, RANDOM_SOURCES)
    options = {
        "goal_hidden": choose_goal_hidden(task, goal_hidden),
        "max_steps": max_steps,
        "reward_version": reward_version,
        "backend": backend,
    }
    env = _make_env(name, tuple(options.items()))
    return env, env.make_params(env.build_reset_bank(seeds, random_source))
