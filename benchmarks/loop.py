"""Times the whole loop and its stages: environment steps and video rewards per second, and compile times.

Each stage is compiled and timed on its own, and then the whole iteration as training runs it. Absolute times hold only
for the named device.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import tyro

from benchmarks.report import disable_compilation_cache, save
from benchmarks.stages import Stage, benchmark_config, loop_stages, random_s3d
from rcjax.embedding import activation_dtype
from rcjax.encoders import SMALL, load_encoder
from rcjax.envs.mjx_env import Backend
from rcjax.micro_batch import choose_micro_batch
from rcjax.world import build_world


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the loop."""

    n_envs: int = 64
    """Number of environments, which is the number of episodes in an iteration."""
    micro_batch: int | None = None
    """Number of episodes that are rendered and embedded at a time; by default as many as training chooses."""
    size: int = 64
    """Side of the square frames, in pixels."""
    frame_stride: int = 4
    """Control steps per frame: of 128 steps, 4 keeps 32 frames (as in the paper), and 8 keeps 16 (preset `demo`)."""
    encoder: Literal["s3d", "small"] = "s3d"
    """An S3D of the released size, or the encoder that comes with rcjax (preset `demo`)."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of S3D's activations; auto means float32 on a CPU and bfloat16 elsewhere."""
    backend: Backend = "jax"
    """What steps the physics: MJX on JAX alone (jax), C MuJoCo (c), or MJX-Warp (warp), which needs its extra."""
    repeats: int = 5
    """Number of timed runs of each stage, after one that is not counted."""
    out: Path | None = None
    """Also write the result to this JSON file."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Times of one stage in seconds. `run_s` is the median of the runs."""

    stage: str
    trace_s: float
    compile_s: float
    run_s: float
    fastest_s: float
    slowest_s: float


def time_stage(stage: Stage, outputs: dict[str, Any], repeats: int) -> Timing:
    """Times a stage, and adds its output to `outputs` for later stages."""
    arguments = stage.arguments(outputs)
    start = time.perf_counter()
    lowered = jax.jit(stage.function).lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    done = time.perf_counter()
    outputs[stage.name] = compiled(*arguments)
    runs = [_seconds(compiled, arguments) for _ in range(repeats + 1)][1:]
    return Timing(stage.name, traced - start, done - traced, statistics.median(runs), min(runs), max(runs))


def _seconds(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def report(options: Options) -> dict[str, Any]:
    """Times all stages and returns the result that is saved."""
    config = benchmark_config(options.n_envs, options.micro_batch, options.size, options.frame_stride, options.dtype)
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, backend=options.backend))
    outputs: dict[str, Any] = {}
    start = time.perf_counter()
    encoder = load_encoder(options.encoder) if options.encoder == SMALL else random_s3d()
    stages = loop_stages(config, build_world(config), encoder)
    device = jax.devices()[0]
    result = {
        "device": device.device_kind,
        "platform": device.platform,
        "jax": jax.__version__,
        "physics": options.backend,
        "n_envs": options.n_envs,
        "micro_batch": choose_micro_batch(options.micro_batch, options.n_envs, config.video),
        "size": options.size,
        "encoder": options.encoder,
        "dtype": str(activation_dtype(config.video)),
        "frames_per_episode": config.video.n_frames,
        "episode_length": config.video.episode_length,
        "repeats": options.repeats,
        "preparation_s": time.perf_counter() - start,
        "stages": [],
    }
    for stage in stages:
        timing = time_stage(stage, outputs, options.repeats)
        print(f"{timing.stage}: {timing.run_s:.3f} s", file=sys.stderr, flush=True)
        result["stages"].append(dataclasses.asdict(timing))
        save(result, options.out)  # so that nothing is lost if the benchmark is stopped
    iteration_s = result["stages"][-1]["run_s"]
    rates = {"env_steps_per_s": config.steps_per_iteration / iteration_s, "rewards_per_s": config.n_envs / iteration_s}
    return result | rates


def table(result: dict[str, Any]) -> str:
    whole = result["stages"][-1]["run_s"]
    lines = [
        f"{result['device']} ({result['platform']}), jax {result['jax']}: {result['n_envs']} environments, "
        f"physics by {result['physics']}, "
        f"{result['frames_per_episode']} frames of {result['size']}x{result['size']}, encoder {result['encoder']} in "
        f"{result['dtype']}",
        "",
        "| stage | trace s | compile s | run s (fastest - slowest) | of the iteration | episodes/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["stages"]:
        lines.append(
            f"| {row['stage']} | {row['trace_s']:.1f} | {row['compile_s']:.1f} "
            f"| {row['run_s']:.3f} ({row['fastest_s']:.3f} - {row['slowest_s']:.3f}) "
            f"| {row['run_s'] / whole:.0%} | {result['n_envs'] / row['run_s']:.1f} |"
        )
    rates = f"{result['env_steps_per_s']:,.0f} env steps/s, {result['rewards_per_s']:.2f} video rewards/s."
    return "\n".join([*lines, "", rates])


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    disable_compilation_cache()
    result = report(options)
    print(table(result))
    save(result, options.out)


if __name__ == "__main__":
    main()
