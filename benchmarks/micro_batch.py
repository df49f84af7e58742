"""Time and memory by the size of the micro-batch, the number of episodes that are drawn and embedded at a time.

Memory is what XLA plans for temporary arrays, beside the estimate of `rcjax.micro_batch.episode_bytes`, from which
training chooses the size that is marked. The sizes take turns.
"""

import dataclasses
import functools
import statistics
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro

from benchmarks import report
from benchmarks.stages import NETWORK, benchmark_config, random_inputs
from rcjax.demonstration import expert_poses
from rcjax.embedding import embed_episodes
from rcjax.micro_batch import choose_micro_batch, episode_bytes
from rcjax.render import take_poses
from rcjax.world import build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Time micro-batches."""

    episodes: int = 16
    """Number of episodes of each run; every micro-batch has to divide it."""
    micro_batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Sizes of the micro-batch to compare, in episodes."""
    size: int = 250
    """Side of the square frames, in pixels."""
    frame_stride: int = 4
    """Control steps per frame: of 128 steps, 4 keeps 32 frames (as in the paper), and 8 keeps 16 (preset `demo`)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of S3D's activations; auto means float32 on a CPU and bfloat16 elsewhere."""
    repeats: int = 3
    """Number of timed runs of each size, after one that is not counted."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def measure(options: Options) -> list[dict[str, Any]]:
    """Returns the times and the memory of each size."""
    config = benchmark_config(options.episodes, None, options.size, options.frame_stride, options.dtype)
    video, world = config.video, build_world(config)
    inputs = random_inputs(config, world)
    episode = expert_poses(world.env, world.train_params, video.episode_length)
    kept = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x[:: video.frame_stride])] * options.episodes), episode)
    poses = take_poses(world.scene, kept)
    programs, memory = {}, {}
    for n in options.micro_batches:
        embed = jax.jit(functools.partial(embed_episodes, video=video, micro_batch=n), static_argnums=1)
        compiled = embed.lower(world.scene, NETWORK, inputs.encoder, poses).compile()
        analysis = compiled.memory_analysis()
        memory[n] = None if analysis is None else analysis.temp_size_in_bytes
        programs[str(n)] = functools.partial(compiled, world.scene, inputs.encoder, poses)
    runs = report.time_interleaved(programs, options.repeats)
    chosen = choose_micro_batch(None, options.episodes, video)
    return [
        {"micro_batch": n, "chosen": n == chosen, "runs_s": runs[str(n)], "temporary_bytes": memory[n],
         "expected_bytes": n * episode_bytes(video)}
        for n in options.micro_batches
    ]  # fmt: skip


def table(options: Options, rows: list[dict[str, Any]]) -> str:
    lines = [
        f"| episodes at a time, {options.size}x{options.size} | s/episode | temporary memory, MiB | expected |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        seconds = statistics.median(row["runs_s"]) / options.episodes
        planned = "unknown" if row["temporary_bytes"] is None else f"{row['temporary_bytes'] / 2**20:,.0f}"
        mark = " (chosen)" if row["chosen"] else ""
        expected = row["expected_bytes"] / 2**20
        lines.append(f"| {row['micro_batch']}{mark} | {seconds:.3f} | {planned} | {expected:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    rows = measure(options)
    print(table(options, rows))
    report.save_run(options, rows=rows)


if __name__ == "__main__":
    main()
