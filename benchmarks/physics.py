"""Speed of physics: env steps per second of MJX's `jax` and `warp` backends and of C MuJoCo, by task and batch size.

A jitted rollout of 128 control steps (of five physics steps each, in the Kitchen of eight) is timed, with observation
and reward. It repeats the actions of the task's expert from the expert's initial states, so that hand and object do
touch. C MuJoCo takes the same steps in the same scene on one core, without observation and reward, and steps the
official scene likewise. The Kitchen's official scene is controlled by joints, so it follows the expert for these.
Ratios are valid within one run; absolute times only for the device named.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import tyro

from benchmarks import report
from benchmarks.official import make_official
from rcjax import envs
from rcjax.envs import c_physics, experts
from rcjax.envs.kitchen import scene as kitchen_scene
from rcjax.envs.kitchen.elements import INIT_QPOS, N_ROBOT
from rcjax.envs.kitchen.env import joint_targets
from rcjax.envs.mjx_env import Backend, EnvParams, EnvState, MjxEnv
from rcjax.envs.warp_physics import contact_capacity

EPISODES = 8  # that are recorded; a batch repeats them
STEPS = 128


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the physics."""

    tasks: tuple[str, ...] = envs.PAPER_TASKS
    """Names of the tasks."""
    batches: tuple[int, ...] = (64, 256)
    """Batch sizes: numbers of environments."""
    backends: tuple[Backend, ...] = ("jax",)
    """What computes the physics, see `envs.make`."""
    repeats: int = 3
    """Number of timed runs, after one that is not counted."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def seconds_of(function: Callable[[], Any], repeats: int) -> float:
    """Returns the median duration over the repeats, after a call that is not counted."""
    function()
    runs = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        runs.append(time.perf_counter() - started)
    return statistics.median(runs)


def rollout(env: MjxEnv, params: EnvParams, state: EnvState, actions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Computes for each environment the return, and whether there was a success."""

    def step(state, action):
        _, state, reward, _, info = jax.vmap(env.step_env, in_axes=(None, 0, 0, None))(
            jax.random.key(0), state, action, params
        )
        return state, (reward, info["success"], info["diverged"])

    _, (reward, success, diverged) = jax.lax.scan(step, state, actions)
    return reward.sum(0) * (diverged.sum(0) == 0), success.any(0)


def time_mjx(task: str, backend: Backend, batch: int, actions: np.ndarray, repeats: int) -> dict[str, Any]:
    """Measures compile times (tracing, then XLA) and rate of a 128-step rollout of `batch` environments."""
    env, params = envs.make(task, seeds=range(EPISODES), backend=backend)
    rows = jnp.arange(batch) % EPISODES
    state = jax.tree.map(lambda leaf: leaf[rows], params.bank)
    tiled = jnp.asarray(actions[:, np.asarray(rows)])
    started = time.perf_counter()
    lowered = jax.jit(lambda params, state, actions: rollout(env, params, state, actions)).lower(params, state, tiled)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    run_s = seconds_of(lambda: jax.block_until_ready(compiled(params, state, tiled)), repeats)
    succeeded = float(compiled(params, state, tiled)[1].mean())
    return {
        "backend": backend, "batch": batch, "trace_s": traced - started, "compile_s": done - traced, "run_s": run_s,
        "env_steps_per_s": batch * STEPS / run_s, "succeeded": succeeded,
    }  # fmt: skip


def time_c(env: MjxEnv, params: EnvParams, actions: np.ndarray, repeats: int) -> float:
    """Returns env steps per second of C MuJoCo on our scene, on one core. `env` has the backend `c`."""
    stepper = c_physics.Stepper(env.mj_model, env.frame_skip, env.lead)

    @jax.jit
    def before_each_step(state: EnvState, actions: jax.Array) -> jax.Array:
        def step(state, action):
            driven, ctrl = jax.vmap(env.control)(state.physics, action)
            _, state, *_ = jax.vmap(env.step_env, in_axes=(None, 0, 0, None))(jax.random.key(0), state, action, params)
            return state, jax.vmap(stepper.pack)(driven, ctrl)

        return jax.lax.scan(step, state, actions)[1]

    packed = np.asarray(before_each_step(params.bank, jnp.asarray(actions)))
    return EPISODES * STEPS / seconds_of(lambda: stepper(packed), repeats)


def time_official(task: str, actions: np.ndarray, repeats: int) -> float:
    """Returns env steps per second of C MuJoCo on the official scene, on one core, without observation and reward."""
    episode = official_kitchen(task) if task in envs.KITCHEN else official_metaworld(task, actions[:, 0])
    return STEPS / seconds_of(episode, repeats)


def official_metaworld(task: str, actions: np.ndarray) -> Callable[[], None]:
    official = make_official(task, 0)
    official.reset()

    def episode() -> None:
        for action in actions:
            official.set_xyz_action(action[:3])
            official.do_simulation([action[3], -action[3]], n_frames=official.frame_skip)

    return episode


def official_kitchen(task: str) -> Callable[[], None]:
    """Returns an episode of the expert for joints: the official scene is given the controls that ours had."""
    env, params = envs.make(task, seeds=range(1), backend="c", control="joint")
    run = experts.run_expert(env, params, [0], STEPS)
    targets = np.asarray(joint_targets(jnp.asarray(run.obs[:, 0, :N_ROBOT]), jnp.asarray(run.action[:, 0])))
    model = kitchen_scene.official_model()
    data = mujoco.MjData(model)
    data.qpos[:] = INIT_QPOS
    substeps = round(env.frame_skip * env.mj_model.opt.timestep / model.opt.timestep)

    def episode() -> None:
        for target in targets:
            data.ctrl[:] = target
            mujoco.mj_step(model, data, nstep=substeps)

    return episode


def time_task(task: str, options: Options) -> dict[str, Any]:
    env, params = envs.make(task, seeds=range(EPISODES), backend="c")
    actions = experts.run_expert(env, params, range(EPISODES), STEPS).action
    contacts, rows = contact_capacity(env.mj_model)
    return {
        "task": task,
        "contacts": contacts,
        "rows": rows,
        "dofs": env.mj_model.nv,
        "c_env_steps_per_s": time_c(env, params, actions, options.repeats),
        "official_c_env_steps_per_s": time_official(task, actions, options.repeats),
        "mjx": [
            time_mjx(task, backend, batch, actions, options.repeats)
            for backend in options.backends
            for batch in options.batches
        ],
    }


HEAD = (
    "| task | contacts | rows | backend | envs | trace s | compile s | env steps/s | over C, our scene | "
    "over C, official scene |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def table_rows(result: dict[str, Any]) -> list[str]:
    c, official = result["c_env_steps_per_s"], result["official_c_env_steps_per_s"]
    lines = [
        f"| {result['task']} | {result['contacts']} | {result['rows']} | C, official scene | 1 | | | {official:,.0f} "
        f"| {official / c:.2f} | 1 |",
        f"| | | | C, our scene | 1 | | | {c:,.0f} | 1 | {c / official:.1f} |",
    ]
    for row in result["mjx"]:
        rate = row["env_steps_per_s"]
        lines.append(
            f"| | | | {row['backend']} | {row['batch']} | {row['trace_s']:.1f} | {row['compile_s']:.1f} | {rate:,.0f} "
            f"| {rate / c:.2f} | {rate / official:.1f} |"
        )
    return lines


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    report.disable_compilation_cache()
    print(report.machine(), HEAD, sep="\n", flush=True)
    results = []
    for task in options.tasks:
        results.append(time_task(task, options))
        print(*table_rows(results[-1]), sep="\n", flush=True)
        report.save({"machine": report.machine(), "steps": STEPS, "tasks": results}, options.out)


if __name__ == "__main__":
    main()
