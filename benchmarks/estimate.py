"""The TPU compiler's own estimate of the time to draw and to embed a micro-batch of episodes, without a TPU.

Cycles are the sum of `estimated_cycles` in the compiled program, loops counted as often as they run: the rasteriser's
loops depend on what is drawn, so that the turns they take are counted here with the expert's poses. The compiler gives
no estimate for gathers, which are therefore left out. Needs the extra `tpu-aot`.
"""

import benchmarks.aot  # isort: skip  (first: it keeps JAX from looking for a TPU)

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.report import save
from benchmarks.stages import benchmark_config, random_inputs
from rcjax import envs
from rcjax.embedding import embed_frames
from rcjax.render import View, build_scene, render_clips, render_frames, take_poses
from rcjax.render import draw as drawing
from rcjax.render.build import ACCELERATOR_CHUNK
from rcjax.render.scene import Scene
from rcjax.taskspec import expert_poses
from rcjax.types import GeomPoses
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


def estimated_cycles(text: str, turns: Callable[[int], float]) -> float:
    """Of a compiled program's text, with loops that are nested `depth` deep counted `turns(depth)` times."""
    own: dict[str, float] = {}
    loops: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?(%[\w.\-]+) .*\{$", line)
        if head:
            name = "ENTRY" if head[1] else head[2]
            own[name], loops[name] = 0.0, []
        for cycles in re.findall(r'"estimated_cycles":"(\d+)"', line):
            own[name] += int(cycles)
        if " while(" in line:
            body = re.search(r"body=(%[\w.\-]+)", line)
            assert body is not None
            loops[name].append(body[1])

    def total(name: str, depth: int) -> float:
        return own[name] + sum(turns(depth) * total(body, depth + 1) for body in loops[name])

    return total("ENTRY", 0)


def rasteriser_turns(scene: Scene, poses: GeomPoses) -> tuple[int, int]:
    """Chunks of tiles, and rounds in all of them, that drawing the frame layer takes."""
    every = drawing.all_poses(scene, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), poses))
    setup = drawing.project(scene, scene.frame_layer, drawing.view_camera(scene, every), every)
    counts = np.sort(np.asarray(jax.lax.population_count(setup.masks).sum(-1)).reshape(-1))[::-1]
    fullest = counts[:: scene.static.chunk]
    return int((fullest > 0).sum()), int(fullest.sum())


def expert_episodes(env: Any, params: Any, scene: Scene, episodes: int, stride: int, length: int) -> GeomPoses:
    poses = expert_poses(env, params, length)
    kept = jax.tree.map(lambda x: jnp.asarray(np.repeat(x[None, ::stride], episodes, axis=0)), poses)
    return take_poses(scene, kept)


def report(options: Options) -> dict:
    device = benchmarks.aot.tpu_devices(options.topology).reshape(-1)[:1]
    sharding = NamedSharding(Mesh(device, ("env",)), PartitionSpec())
    config = benchmark_config(options.episodes, options.episodes, options.size, 4, "bfloat16")
    video = dataclasses.replace(config.video, graph="native")
    env, params = envs.make(config.env.task, seeds=range(8), max_steps=video.episode_length)
    rows = []

    def compile_for_tpu(function, *arguments) -> str:
        lowered = jax.jit(function).lower(*benchmarks.aot.abstract(arguments, sharding))
        return str(lowered.compile().as_text())

    for lookup in options.lookup:
        view = View(camera=env.camera, size=options.size)
        # One layer, so that there is one loop over chunks and one in it over rounds.
        scene = build_scene(env.mj_model, view=view, chunk=ACCELERATOR_CHUNK, lookup=lookup)  # pyright: ignore
        poses = expert_episodes(env, params, scene, options.episodes, video.frame_stride, video.episode_length)
        chunks, rounds = jax.device_get(rasteriser_turns(scene, poses))
        per_depth = (chunks, rounds / max(chunks, 1))
        cycles = estimated_cycles(compile_for_tpu(render_frames, scene, poses), lambda depth, n=per_depth: n[depth])
        rows.append({"stage": f"rendering, lookup by {lookup}", "cycles": cycles, "chunks": chunks, "rounds": rounds})
    encoder = random_inputs(config, World(env, params, params, scene)).encoder
    for draw in (render_frames, render_clips):

        def judge(encoder, scene, poses, draw=draw):
            return embed_frames(encoder, draw(scene, poses), video)

        clips = jax.eval_shape(draw, scene, poses)
        text = compile_for_tpu(lambda encoder, clips: embed_frames(encoder, clips, video), encoder, clips)
        rows.append({"stage": f"S3D, bfloat16, of {draw.__name__}", "cycles": estimated_cycles(text, lambda _: 1.0)})
        text = compile_for_tpu(judge, encoder, scene, poses)
        cycles = estimated_cycles(text, lambda depth, n=per_depth: n[depth])
        rows.append({"stage": f"rendering and S3D, by {draw.__name__}", "cycles": cycles})
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
        loops = f" ({row['chunks']} chunks, {row['rounds']} rounds)" if "chunks" in row else ""
        print(f"{row['stage']}: {row['cycles'] / 1e6:,.1f} Mcycles{loops}")
    save(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
