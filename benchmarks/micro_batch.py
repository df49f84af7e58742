"""How many episodes to draw and embed at a time: time and memory by the size of the micro-batch, in turns.

Memory is what XLA plans for temporary arrays, beside what `rcjax.embedding.episode_bytes` expects, by which training
chooses (marked).
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
from benchmarks.stages import benchmark_config, random_inputs
from rcjax.demonstration import expert_poses
from rcjax.embedding import embed_episodes
from rcjax.micro_batch import choose_micro_batch, episode_bytes
from rcjax.render import take_poses
from rcjax.world import build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Time micro-batches."""

    episodes: int = 16
    """Episodes of each run; every micro-batch has to divide them."""
    micro_batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Episodes at a time."""
    size: int = 250
    """Side of the frames, pixels."""
    frame_stride: int = 4
    """Control steps per frame: of 128 steps, 4 keeps 32 frames (the paper), 8 keeps 16 (`demo`)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Activations of S3D."""
    repeats: int = 3
    """Timed runs of each, in turns, after one that is not counted."""
    out: Path | None = None
    """Also write the result here, as JSON."""


def measure(options: Options) -> list[dict[str, Any]]:
    config = benchmark_config(options.episodes, None, options.size, options.frame_stride, options.dtype)
    video, world = config.video, build_world(config)
    inputs = random_inputs(config, world)
    whole = expert_poses(world.env, world.train_params, video.episode_length)
    kept = jax.tree.map(lambda x: jnp.stack([jnp.asarray(x[:: video.frame_stride])] * options.episodes), whole)
    poses = take_poses(world.scene, kept)
    programs, memory = {}, {}
    for n in options.micro_batches:
        embed = functools.partial(embed_episodes, video=video, micro_batch=n)
        compiled = jax.jit(embed).lower(world.scene, inputs.encoder, poses).compile()
        analysis = compiled.memory_analysis()
        memory[n] = None if analysis is None else analysis.temp_size_in_bytes
        programs[str(n)] = functools.partial(compiled, world.scene, inputs.encoder, poses)
    runs = report.time_in_turns(programs, options.repeats)
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
        planned = "not told" if row["temporary_bytes"] is None else f"{row['temporary_bytes'] / 2**20:,.0f}"
        mark = " (chosen)" * row["chosen"]
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
