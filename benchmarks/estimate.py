"""The TPU compiler's own estimate of the time to draw and to embed a micro-batch of episodes, without a TPU.

Cycles are the sum of `estimated_cycles` in the compiled program, with loops counted as often as they run. How often the
rasteriser's loops run depends on what is drawn, so it is counted with the expert's poses. The compiler gives no
estimate for gathers, sorts and Pallas kernels, so they are left out; for the kernel see `benchmarks.bundles`. Needs the
extra `tpu-aot`.
"""

import benchmarks.aot  # isort: skip  (imported first, as it keeps JAX from looking for a TPU)

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.hlo import Program
from benchmarks.report import save
from benchmarks.stages import NETWORK, benchmark_config, random_inputs
from benchmarks.turns import rendering_trip_counts
from benchmarks.work import TripCounts, count_work
from rcjax import envs, target
from rcjax.embedding import embed_frames
from rcjax.render import View, build_scene, render_clips, render_frames
from rcjax.world import World


@dataclasses.dataclass(frozen=True)
class Options:
    """Estimate rendering and embedding on one device of a TPU topology."""

    topology: str = "v5e:2x2"
    """The topology's name for the TPU compiler."""
    episodes: int = 16
    """Number of episodes in the micro-batch."""
    size: int = 250
    """Side of the frames, pixels."""
    lookup: tuple[Literal["index", "varyings"], ...] = ("varyings",)
    """The ways of looking up what is seen (`rcjax.render.lookup`) to compare."""
    tile_loop: Literal["mosaic", "xla"] = "mosaic"
    """What draws the tiles: the Pallas kernel, which is not in the estimate, or XLA's rounds, which are."""
    layouts: tuple[Literal["frames", "2x2", "4x4"], ...] = ("frames", "2x2", "4x4")
    """How frames are handed over to S3D: as they are, or in blocks of so many pixels."""
    out: Path | None = None
    """Also write the result to this JSON file."""


def report(options: Options) -> dict[str, Any]:
    """Compiles the stages and returns the estimated cycles of each. Raises what `aot.tpu_devices` raises."""
    device = benchmarks.aot.tpu_devices(options.topology).reshape(-1)[:1]
    with target.compiling_for("tpu"):
        return _report_for(device, options)


def _report_for(device: np.ndarray, options: Options) -> dict[str, Any]:
    sharding = NamedSharding(Mesh(device, ("env",)), PartitionSpec())
    config = benchmark_config(options.episodes, options.episodes, options.size, 4, "bfloat16")
    video = config.video
    env, params = envs.make(config.env.task, seeds=range(8), max_steps=video.episode_length, backend="c")
    print(f"One device of {options.topology}, {options.episodes} episodes of {video.n_frames} frames of "
          f"{options.size}x{options.size}; the estimate leaves gathers and kernels out")  # fmt: skip
    rows = []

    def add_row(stage: str, turns: TripCounts, function, *arguments) -> None:
        lowered = jax.jit(function).lower(*benchmarks.aot.abstract(arguments, sharding))
        cycles = count_work(Program(str(lowered.compile().as_text())), turns).cycles
        rows.append({"stage": stage, "cycles": cycles})
        print(f"{stage}: {cycles / 1e6:,.1f} Mcycles", flush=True)

    for lookup in options.lookup:
        view = View(camera=env.camera, size=options.size)
        scene = build_scene(
            env.mj_model, view=view, episode_fixed_bodies=env.episode_fixed_bodies, lookup=lookup,
        )  # fmt: skip
        scene = scene.replace(static=dataclasses.replace(scene.static, tile_loop=options.tile_loop))
        world = World(env, params, params, scene)
        poses = benchmarks.aot.expert_episodes(scene, config, options.episodes)
        turns = rendering_trip_counts(scene, jax.tree.map(lambda x: x[None], poses))
        for layout in options.layouts:
            add_row(f"rendering, lookup by {lookup}, {layout}", turns, DRAW[layout], scene, poses)
    encoder = random_inputs(config, world).encoder
    for layout in options.layouts:

        def draw_and_embed(encoder, scene, poses, draw=DRAW[layout]):
            return embed_frames(NETWORK, encoder, draw(scene, poses), video)

        def embed(encoder, clips):
            return embed_frames(NETWORK, encoder, clips, video)

        clips = jax.eval_shape(DRAW[layout], scene, poses)
        add_row(f"S3D, bfloat16, {layout}", {}, embed, encoder, clips)
        add_row(f"rendering and S3D in one program, {layout}", turns, draw_and_embed, encoder, scene, poses)
    return {"topology": options.topology, "jax": jax.__version__, "episodes": options.episodes, "size": options.size,
            "tile_loop": options.tile_loop, "frames_per_episode": video.n_frames, "stages": rows}  # fmt: skip


DRAW: dict[str, Callable[..., jax.Array]] = {
    "frames": render_frames,
    "2x2": render_clips,
    "4x4": functools.partial(render_clips, side=4),
}


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    try:
        result = report(options)
    except ValueError as error:
        print(f"benchmarks.estimate: error: {error}", file=sys.stderr)
        return 2
    save(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
