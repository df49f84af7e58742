"""Environments by name: `make("drawer-close")` of Metaworld, or `make("kitchen-slide")` of Franka Kitchen.

`gymnax.make("Metaworld/drawer-close-v3")` and `gymnax.make("FrankaKitchen/slide-v1")` build the same environments;
`brax_adapter.BraxEnv` gives them Brax's interface.

Every environment is a gymnax 1.0 `Environment` on MJX. Its scene is edited for MJX (see `scenes`) and its reset states
are prepared by the official procedure. It also has what RoboCLIP needs: `env.mj_model`, `env.geom_poses(state)`,
`env.prompt` and `env.camera`.
"""

import contextlib
import functools
import io
from collections.abc import Sequence
from typing import Any

with contextlib.redirect_stdout(io.StringIO()):  # without the optional warp, importing MJX prints two warnings
    import mujoco.mjx  # noqa: F401

from rcjax.checks import require_one_of
from rcjax.envs.kitchen.options import Control, Goal, RewardKind
from rcjax.envs.metaworld.sawyer import RANDOM_SOURCES, RandomSource, RewardVersion, require_options
from rcjax.envs.mjx_env import DEFAULT_SEEDS, Backend, EnvParams, EnvState, MjxEnv
from rcjax.envs.physics import Poses
from rcjax.envs.registry import (
    KITCHEN,
    MT50,
    PAPER_TASKS,
    TASKS,
    canonical_name,
    choose_goal_hidden,
    register_with_gymnax,
    task_class,
)

__all__ = [
    "KITCHEN", "MT50", "PAPER_TASKS", "TASKS", "EnvParams", "EnvState", "MjxEnv", "Poses", "canonical_name",
    "choose_goal_hidden", "make", "task_class",
]  # fmt: skip

register_with_gymnax()


@functools.lru_cache(maxsize=16)
def _make_env(name: str, options: tuple[tuple[str, Any], ...]) -> MjxEnv:
    return task_class(name)(**dict(options))


def make(
    task: str,
    *,
    seeds: Sequence[int] = DEFAULT_SEEDS,
    random_source: RandomSource = "metaworld",
    goal_hidden: bool | None = None,
    max_steps: int = 128,
    reward_version: RewardVersion = "v2",
    backend: Backend = "jax",
    control: Control = "ee",
    goal: Goal = "task",
    reward: RewardKind = "dense",
) -> tuple[MjxEnv, EnvParams]:
    """Returns the environment of a task, and parameters with a bank of reset states.

    Equal options return the same environment object, so that compiled programs are shared.

    Args:
        task: a name of `TASKS`, with or without Metaworld's suffixes ("drawer-close", "drawer-close-v3"), or one of
            `KITCHEN`.
        seeds: entry i of the bank is the official reset state of seeds[i]. Resets draw uniformly from the bank, so a
            seed that is listed twice is drawn twice as often. The Kitchen's resets are all alike.
        random_source: of Metaworld's tasks; whose seeding turns a seed into a reset state, see
            `SawyerEnv.random_vector`.
        goal_hidden: of Metaworld's tasks; whether observations show zeros instead of the goal. By default they do,
            except for a task with the suffix "-goal-observable".
        max_steps: the time limit of an episode, in control steps.
        reward_version: of Metaworld's tasks; the version of its reward; "v2" is its default.
        backend: what computes the physics. "jax" is MJX and runs everywhere; "c" is C MuJoCo on the host, which on
            a CPU is several times as fast; "warp" runs where MJX-Warp is installed.
        control, goal, reward: of the Kitchen's tasks; see `kitchen.env.KitchenEnv`.

    Raises:
        ValueError: for an unknown task, backend or reward version, and for an option of a wrong type or size.

    Example:
        env, params = make("drawer-close", seeds=range(50))
        obs, state = env.reset(jax.random.key(0), params)
    """
    name = canonical_name(task)
    require_options(max_steps, backend, reward_version)
    require_one_of("random_source", random_source, RANDOM_SOURCES)
    options: dict[str, Any] = {"max_steps": max_steps, "backend": backend}
    if name in KITCHEN:
        options |= {"control": control, "goal": goal, "reward": reward}
    else:
        options |= {"goal_hidden": choose_goal_hidden(task, goal_hidden), "reward_version": reward_version}
    env = _make_env(name, tuple(options.items()))
    return env, env.make_params(env.build_reset_bank(seeds, random_source))
