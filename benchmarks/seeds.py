"""Times a sweep of seeds in one program, and one seed with as many environments: the cost of separate policies.

Both run the same number of episodes in an iteration. Training steps, draws and embeds the environments of all seeds as
one batch. The sweep is also timed with the whole iteration vmapped over its seeds instead.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import tyro

from benchmarks import report
from benchmarks.stages import NETWORK, benchmark_config, random_inputs
from rcjax.config import TrainConfig
from rcjax.episodes import Inputs, train_mode
from rcjax.loop import TrainState, initial_state, iterate
from rcjax.micro_batch import choose_micro_batch
from rcjax.world import World, build_world

Iteration = Callable[[TrainState, Inputs], TrainState]


@dataclasses.dataclass(frozen=True)
class Options:
    """Time a sweep."""

    seeds: int = 16
    """Number of seeds of the sweep."""
    n_envs: int = 8
    """Number of environments of each seed; the single seed has `seeds` times as many."""
    size: int = 48
    """Side of the square frames, in pixels."""
    frame_stride: int = 8
    """Number of control steps per frame."""
    repeats: int = 3
    """Number of timed iterations of each variant, which take turns, after one that is not counted."""
    vmapped: bool = True
    """Also time the iteration vmapped over seeds."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def batched_iteration(config: TrainConfig, world: World, micro_batch: int) -> Iteration:
    """Returns the iteration as training runs it, with all seeds' environments in one batch."""
    step = functools.partial(iterate, env=world.env, network=NETWORK, config=config, micro_batch=micro_batch, mesh=None)
    return lambda state, inputs: step(state, inputs, train_mode(config))[0]


def vmapped_iteration(config: TrainConfig, world: World, micro_batch: int) -> Iteration:
    """Returns the same sweep as a vmap of the iteration of one seed."""
    single = dataclasses.replace(config, seeds=1, micro_batch=None)
    step = functools.partial(iterate, env=world.env, network=NETWORK, config=single, micro_batch=micro_batch, mesh=None)

    of_seeds = ("ppo", "selected", "key")

    def iterate_seed(of_seed: dict[str, Any], state: TrainState, inputs: Inputs) -> TrainState:
        seed_state = state.replace(**jax.tree.map(lambda x: x[None], of_seed))
        return step(seed_state, inputs, train_mode(config))[0]

    def sweep(state: TrainState, inputs: Inputs) -> TrainState:
        by_name = {name: getattr(state, name) for name in of_seeds}
        after = jax.vmap(iterate_seed, in_axes=(0, None, None))(by_name, state, inputs)
        updated = {name: jax.tree.map(lambda x: x[:, 0], getattr(after, name)) for name in of_seeds}
        return state.replace(**updated, iteration=after.iteration[0])

    return sweep


def make_variants(options: Options) -> tuple[dict[str, tuple[TrainConfig, Iteration]], World, Inputs]:
    """Returns the config and the iteration of each variant, and the world and the inputs of all variants."""
    total = options.seeds * options.n_envs
    single = benchmark_config(total, None, options.size, options.frame_stride, "auto")
    # An update has as many minibatches as that of the single seed, so each of them is smaller.
    ppo = dataclasses.replace(single.ppo, batch_size=single.ppo.batch_size // options.seeds)
    sweep = dataclasses.replace(single, seeds=options.seeds, n_envs=options.n_envs, ppo=ppo)
    world = build_world(single)
    micro_batch = choose_micro_batch(None, total, single.video)
    variants = {"one seed": (single, batched_iteration(single, world, micro_batch))}
    variants["seeds, one batch"] = (sweep, batched_iteration(sweep, world, micro_batch))
    if options.vmapped:
        share = choose_micro_batch(None, options.n_envs, single.video)
        variants["seeds, vmapped"] = (sweep, vmapped_iteration(sweep, world, max(1, share // options.seeds)))
    return variants, world, random_inputs(single, world)


def time_iterations(options: Options) -> dict[str, dict[str, Any]]:
    """Returns the seconds of compilation and of each iteration. The variants take turns."""
    variants, world, inputs = make_variants(options)
    rows, programs = {}, {}
    for name, (config, function) in variants.items():
        state = initial_state(config, world.env)
        start = time.perf_counter()
        compiled = jax.jit(function).lower(state, inputs).compile()
        rows[name] = {"compile_s": time.perf_counter() - start}
        programs[name] = functools.partial(compiled, state, inputs)
    for name, runs in report.time_interleaved(programs, options.repeats).items():
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
    report.disable_compilation_cache()
    rows = time_iterations(options)
    print(table(options, rows))
    report.save_run(options, rows=rows)


if __name__ == "__main__":
    main()
