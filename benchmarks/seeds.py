"""A sweep of seeds in one program beside one seed with as many environments: what keeping policies apart costs.

Both run the same number of episodes an iteration. Also timed: the sweep with the whole iteration vmapped over its
seeds, instead of all seeds' environments stepped, drawn and embedded as one batch, which is what training does.
"""

import dataclasses
import functools
import statistics
import time
from pathlib import Path
from typing import Any

import jax
import tyro

from benchmarks import report
from benchmarks.stages import benchmark_config, random_inputs
from rcjax.config import TrainConfig
from rcjax.loop import initial_state, iterate, train_mode
from rcjax.micro_batch import choose_micro_batch
from rcjax.world import build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Time a sweep."""

    seeds: int = 16
    """Seeds of the sweep."""
    n_envs: int = 8
    """Environments of each seed; the one seed has `seeds` times as many."""
    size: int = 48
    """Side of the frames, pixels."""
    frame_stride: int = 8
    """Control steps per frame."""
    repeats: int = 3
    """Timed iterations of each, in turns, after one that is not counted."""
    vmapped: bool = True
    """Also time the iteration vmapped over seeds."""
    out: Path | None = None
    """Also write the result here, as JSON."""


def folded(config: TrainConfig, world: Any, micro_batch: int) -> Any:
    """The iteration as training runs it: (state, inputs) -> state."""
    step = functools.partial(iterate, env=world.env, config=config, micro_batch=micro_batch, mesh=None)
    return lambda state, inputs: step(state, inputs, train_mode(config))[0]


def vmapped(config: TrainConfig, world: Any, micro_batch: int) -> Any:
    """The same sweep as a vmap of one seed's iteration."""
    alone = dataclasses.replace(config, seeds=1, micro_batch=None)
    step = functools.partial(iterate, env=world.env, config=alone, micro_batch=micro_batch, mesh=None)

    def of_seed(ppo_state: Any, key: jax.Array, state: Any, inputs: Any):
        one = state.replace(ppo=jax.tree.map(lambda x: x[None], ppo_state), key=key[None])
        return step(one, inputs, train_mode(config))[0]

    def sweep(state: Any, inputs: Any):
        after = jax.vmap(of_seed, in_axes=(0, 0, None, None))(state.ppo, state.key, state, inputs)
        ppo_state, key = jax.tree.map(lambda x: x[:, 0], (after.ppo, after.key))
        return state.replace(ppo=ppo_state, key=key, iteration=after.iteration[0])

    return sweep


def contestants(options: Options) -> tuple[dict[str, tuple[TrainConfig, Any]], Any, Any]:
    """Each config with the function of (state, inputs) that is its iteration; the world; the inputs of all."""
    total = options.seeds * options.n_envs
    alone = benchmark_config(total, None, options.size, options.frame_stride, "auto")
    # As many minibatches an update as the one seed has, so each is smaller.
    smaller = dataclasses.replace(alone.ppo, batch_size=alone.ppo.batch_size // options.seeds)
    sweep = dataclasses.replace(alone, seeds=options.seeds, n_envs=options.n_envs, ppo=smaller)
    world = build_world(alone)
    micro_batch = choose_micro_batch(None, total, alone.video)
    these = {"one seed": (alone, folded(alone, world, micro_batch))}
    these["seeds, one batch"] = (sweep, folded(sweep, world, micro_batch))
    if options.vmapped:
        share = choose_micro_batch(None, options.n_envs, alone.video)
        these["seeds, vmapped"] = (sweep, vmapped(sweep, world, max(1, share // options.seeds)))
    return these, world, random_inputs(alone, world)


def time_iterations(options: Options) -> dict[str, dict[str, Any]]:
    """Seconds of compiling and of each iteration, the contestants taking turns."""
    these, world, inputs = contestants(options)
    rows, programs = {}, {}
    for name, (config, function) in these.items():
        state = initial_state(config, world.env)
        begun = time.perf_counter()
        compiled = jax.jit(function).lower(state, inputs).compile()
        rows[name] = {"compile_s": time.perf_counter() - begun}
        programs[name] = functools.partial(compiled, state, inputs)
    for name, runs in report.time_in_turns(programs, options.repeats).items():
        rows[name]["runs_s"] = runs
    return rows


def table(options: Options, rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"| {options.seeds} x {options.n_envs} environments | compile s | iteration s | over one seed |",
        "| --- | --- | --- | --- |",
    ]
    first = statistics.median(rows["one seed"]["runs_s"])
    for name, row in rows.items():
        median = statistics.median(row["runs_s"])
        lines.append(f"| {name} | {row['compile_s']:.0f} | {median:.2f} | {median / first:.2f} |")
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    report.compile_afresh()
    rows = time_iterations(options)
    print(table(options, rows))
    report.save_run(options, rows=rows)


if __name__ == "__main__":
    main()
