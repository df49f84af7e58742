"""A roofline of each stage: its FLOPs and bytes against the measured peaks of the device.

FLOPs and bytes are read from the compiled program (`benchmarks.work`). Loops count as often as they run, and MJX's
solver at its limit of iterations. Bytes are those that would move if every XLA kernel read its operands from memory and
wrote its results there, so a stage whose data stays in a cache is faster than that bound.
"""

import dataclasses
import statistics
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro

from benchmarks import peaks, report
from benchmarks.hlo import Program
from benchmarks.stages import benchmark_config, loop_stages
from benchmarks.turns import physics_trip_counts, rendering_trip_counts
from benchmarks.work import Work, count_work
from rcjax.embedding import activation_dtype
from rcjax.micro_batch import choose_micro_batch
from rcjax.world import build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare the time of each stage with the bounds of the device."""

    n_envs: int = 16
    """Number of environments, which is the number of episodes in an iteration."""
    micro_batch: int | None = None
    """Number of episodes that are rendered and embedded at a time; by default as many as training chooses."""
    size: int = 250
    """Side of the square frames, in pixels."""
    frame_stride: int = 4
    """Control steps per frame: of 128 steps, 4 keeps 32 frames (as in the paper), and 8 keeps 16 (preset `demo`)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of S3D's activations; auto means float32 on a CPU and bfloat16 elsewhere."""
    repeats: int = 3
    """Number of timed runs of each stage, after one that is not counted."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def bounds(work: Work, measured: dict[str, float], stage: str) -> dict[str, float]:
    """Returns the shortest seconds that each limit of the device allows. All stages except S3D compute in float32."""
    matrix = measured["matrix_flops" if stage == "embedding" else "matrix_flops_float32"]
    return {
        "matrix": work.matrix_flops / matrix,
        "vector": work.other_flops / measured["vector_flops"],
        "memory": work.bytes / measured["copy_bytes"],
    }


def measure(options: Options) -> dict[str, Any]:
    """Returns the peaks of the device, and the work, times and bounds of each stage."""
    config = benchmark_config(options.n_envs, options.micro_batch, options.size, options.frame_stride, options.dtype)
    measured = {
        "matrix_flops": peaks.matrix_flops(activation_dtype(config.video)),
        "matrix_flops_float32": peaks.matrix_flops(jnp.float32),
        "vector_flops": peaks.vector_flops(),
        "copy_bytes": peaks.copy_bytes(),
    }
    world = build_world(config)
    outputs: dict[str, Any] = {}
    rows = []
    for stage in loop_stages(config, world)[:-1]:
        arguments = stage.arguments(outputs)
        compiled = jax.jit(stage.function).lower(*arguments).compile()
        outputs[stage.name] = compiled(*arguments)
        runs = report.time_interleaved({"": lambda a=arguments, c=compiled: c(*a)}, options.repeats)[""]
        trip_counts = {
            "physics": lambda: physics_trip_counts(world.env),
            "rendering": lambda a=arguments: rendering_trip_counts(*a),
        }
        try:
            work = count_work(Program(str(compiled.as_text())), trip_counts.get(stage.name, dict)())
        except ValueError as error:  # the program has a loop that only this backend makes; its time still counts
            print(f"{stage.name}: {error}", file=sys.stderr)
            work = Work()
        rows.append({"stage": stage.name, "runs_s": runs, "work": dataclasses.asdict(work),
                     "bounds_s": bounds(work, measured, stage.name)})  # fmt: skip
    micro_batch = choose_micro_batch(config.micro_batch, config.n_envs, config.video)
    return {"peaks": measured, "micro_batch": micro_batch, "stages": rows}


def table(options: Options, result: dict[str, Any]) -> str:
    measured = result["peaks"]
    lines = [
        f"Peaks: {measured['matrix_flops'] / 1e9:,.0f} GFLOP/s in S3D's matrix products, "
        f"{measured['matrix_flops_float32'] / 1e9:,.0f} in float32 ones, "
        f"{measured['vector_flops'] / 1e9:,.0f} outside, {measured['copy_bytes'] / 1e9:,.1f} GB/s. "
        f"{options.n_envs} episodes of {options.size}x{options.size}:",
        "",
        "| stage | matrix GFLOP | other GFLOP | GB | shortest s: matrix / vector / memory | bound by | s | of bound |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["stages"]:
        work, limits, seconds = row["work"], row["bounds_s"], statistics.median(row["runs_s"])
        binding = max(limits, key=limits.__getitem__)
        lines.append(
            f"| {row['stage']} | {work['matrix_flops'] / 1e9:,.2f} | {work['other_flops'] / 1e9:,.2f} "
            f"| {work['bytes'] / 1e9:,.2f} | {' / '.join(f'{s:.3g}' for s in limits.values())} | {binding} "
            f"| {seconds:.3g} | {limits[binding] / seconds:.0%} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    result = measure(options)
    print(table(options, result))
    report.save_run(options, **result)


if __name__ == "__main__":
    main()
