"""The TPU compiler's own estimate of the time to draw and to embed a micro-batch of episodes, without a TPU.

Cycles are the sum of `estimated_cycles` in the compiled program, loops counted as often as they run: the rasteriser's
loops depend on what is drawn, so that the turns they take are counted here with the expert's poses. The compiler gives
no estimate for gathers, which are therefore left out. Needs the extra `tpu-aot`.
"""

import benchmarks.aot  # isort: skip  (first: it keeps JAX from looking for a TPU)

import dataclasses
import sys
from pathlib import Path

import jax
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.hlo import Program
from benchmarks.report import save
from benchmarks.stages import benchmark_config, random_inputs
from benchmarks.turns import rendering_turns
from benchmarks.work import Turns, count_work
from rcjax import envs
from rcjax.embedding import embed_frames
from rcjax.render import View, build_scene, render_clips, render_frames
from rcjax.render.build import ACCELERATOR_CHUNK
from rcjax.world import World


@dataclasses.dataclass(frozen=True)
class Options:
    """Estimate rendering and embedding on one device of a TPU topology."""

    topology: str = "v5e:2x2"
    """As the TPU compiler names it."""
    episodes: int = 16
    """A micro-batch."""
    size: int = 250
    """Side of the frames, pixels."""
    lookup: tuple[str, ...] = ("index", "factors")
    """Ways of looking up what is seen (`rcjax.render.lookup`) to compare."""
    out: Path | None = None
    """Also write the result here, as JSON."""


def report(options: Options) -> dict:
    device = benchmarks.aot.tpu_devices(options.topology).reshape(-1)[:1]
    sharding = NamedSharding(Mesh(device, ("env",)), PartitionSpec())
    config = benchmark_config(options.episodes, options.episodes, options.size, 4, "bfloat16")
    video = dataclasses.replace(config.video, graph="native")
    env, params = envs.make(config.env.task, seeds=range(8), max_steps=video.episode_length)
    rows = []

    def cycles(turns: Turns, function, *arguments) -> float:
        lowered = jax.jit(function).lower(*benchmarks.aot.abstract(arguments, sharding))
        return count_work(Program(str(lowered.compile().as_text())), turns).cycles

    for lookup in options.lookup:
        view = View(camera=env.camera, size=options.size)
        scene = build_scene(
            env.mj_model, view=view, episode_fixed_bodies=env.episode_fixed_bodies, chunk=ACCELERATOR_CHUNK,
            lookup=lookup,  # pyright: ignore
        )  # fmt: skip
        world = World(env, params, params, scene)
        poses = benchmarks.aot.expert_episodes(world, config, options.episodes)
        turns = rendering_turns(scene, jax.tree.map(lambda x: x[None], poses))
        rows.append({"stage": f"rendering, lookup by {lookup}", "cycles": cycles(turns, render_frames, scene, poses)})
    encoder = random_inputs(config, world).encoder
    for draw in (render_frames, render_clips):

        def draw_and_embed(encoder, scene, poses, draw=draw):
            return embed_frames(encoder, draw(scene, poses), video)

        def embed(encoder, clips):
            return embed_frames(encoder, clips, video)

        of, clips = f"by {draw.__name__}", jax.eval_shape(draw, scene, poses)
        rows.append({"stage": f"S3D, bfloat16, {of}", "cycles": cycles({}, embed, encoder, clips)})
        rows.append(
            {"stage": f"rendering and S3D, {of}", "cycles": cycles(turns, draw_and_embed, encoder, scene, poses)}
        )
    return {"topology": options.topology, "jax": jax.__version__, "episodes": options.episodes, "size": options.size,
            "frames_per_episode": video.n_frames, "stages": rows}  # fmt: skip


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    try:
        result = report(options)
    except ValueError as error:
        print(f"benchmarks.estimate: error: {error}", file=sys.stderr)
        return 2
    print(f"One device of {options.topology}, {options.episodes} episodes of {result['frames_per_episode']} frames of "
          f"{options.size}x{options.size}; gathers are not in the estimate")  # fmt: skip
    for row in result["stages"]:
        print(f"{row['stage']}: {row['cycles'] / 1e6:,.1f} Mcycles")
    save(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
