"""Environments by name: `env, params = make("drawer-close")`.

Every environment is a gymnax 1.0 `Environment` on MJX, with the scene edited for it (`scenes`), reset states
prepared by the official procedure, and what RoboCLIP needs besides: `env.mj_model`, `env.geom_poses(state)`,
`env.prompt`, `env.camera`.
"""

import contextlib
import difflib
import functools
import io
import re
from collections.abc import Sequence

with contextlib.redirect_stdout(io.StringIO()):  # without the optional warp, importing MJX prints two complaints
    import mujoco.mjx  # noqa: F401

from rcjax.envs.metaworld.drawer_close import DrawerClose
from rcjax.envs.mjx_env import DEFAULT_SEEDS, EnvParams, EnvState, MjxEnv, Poses

__all__ = ["TASKS", "EnvParams", "EnvState", "MjxEnv", "Poses", "canonical_name", "make"]

TASKS: dict[str, type[MjxEnv]] = {"drawer-close": DrawerClose}


def canonical_name(task: str) -> str:
    """The task's name without Metaworld's version and observability suffixes: "drawer-close-v3" is
    "drawer-close".

    Raises ValueError for a task that is not in `TASKS`.
    """
    name = re.sub(r"-v[0-9]+(-goal-(hidden|observable))?$", "", str(task).strip().lower().replace("_", "-"))
    if name in TASKS:
        return name
    nearest = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.0)
    raise ValueError(f"Unknown task {task!r}; the nearest is {nearest[0]!r}. rcjax.envs.TASKS lists all.")


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
    backend: str = "jax",
) -> tuple[MjxEnv, EnvParams]:
    """The environment and its default parameters.

    `seeds` and `random_source` choose the bank of reset states, index i being the official reset of seeds[i]
    (`SawyerEnv.random_vector` says whose seeding). Equal options give the same environment object, so that
    compiled programs are shared.

    Raises ValueError for an unknown task or backend.
    """
    if backend != "jax":
        raise ValueError(f"backend={backend!r} is not available; the one there is, is 'jax'.")
    name = canonical_name(task)
    env = _make_env(name, (("goal_hidden", goal_hidden), ("max_steps", max_steps)))
    return env, env.make_params(env.build_reset_bank(seeds, random_source))
