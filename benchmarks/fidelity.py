"""Compares our images with `mujoco.Renderer`'s, drawn from the same poses, and S3D's embeddings of both.

The images are the kept frames of the expert's episode of every task, and the initial state of FrankaKitchen if
gymnasium-robotics is installed, with shadows off and on. The extra `bench` and an OpenGL context are needed
(MUJOCO_GL=osmesa is enough). S3D's weights are random, and calibrated on untrained episodes of the task as in training.
The cosines therefore say how much the difference affects the reward of such an encoder, and nothing about the published
weights.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import mujoco
import numpy as np
import tyro
from jaxtyping import Float, UInt8
from PIL import Image

from benchmarks import metrics
from benchmarks.opengl import OpenGL
from benchmarks.report import save
from rcjax import envs
from rcjax.calibration import CALIBRATION_EPISODES, calibrated_encoder, untrained_clips
from rcjax.config import EnvConfig, TrainConfig, VideoConfig
from rcjax.demonstration import draw_episode, expert_poses
from rcjax.embedding import embed_frames
from rcjax.envs import TASKS
from rcjax.envs.experts import run_expert
from rcjax.envs.kitchen.env import KitchenEnv
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams
from rcjax.render import Scene, View, build_scene, render_frames, take_poses
from rcjax.types import GeomPoses
from rcjax.world import World, make_env

GOALS = {"psnr": 30.0, "ssim": 0.95, "cosine": 0.98}
"""PSNR in dB; the SSIM is for images of 250 pixels without shadows."""

_KEPT_BITS = np.uint8(0xFC)  # of the saved images: dropping two bits per channel makes the files a third smaller


@dataclasses.dataclass(frozen=True)
class Options:
    """Compare our images with MuJoCo's."""

    size: int = 250
    """Side of the images in pixels."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Tasks to compare; none compares only FrankaKitchen."""
    kitchen: bool = True
    """Whether FrankaKitchen's initial state is compared, too."""
    frame_stride: int = 4
    """Control steps per kept frame; 4 keeps 32 frames of 128 steps."""
    shadows: Literal["both", "off", "on"] = "both"
    """Whether both renderers draw shadows."""
    samples: int = 4
    """Samples per pixel of both renderers; 1 draws without antialiasing."""
    cull: bool = True
    """Whether both renderers leave out surfaces that are seen from behind; without it, gaps show the arm's inside."""
    embed: bool = True
    """Whether S3D's embeddings are compared, which takes a minute or two per task."""
    out_dir: Path = Path("benchmarks/results/fidelity")
    """Folder for the side-by-side images."""
    out: Path | None = None
    """File to which the result is written as JSON."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, a view, and the poses `[F G]` in which it is compared."""

    name: str
    model: mujoco.MjModel
    view: View
    poses: GeomPoses
    episode_fixed_bodies: tuple[str, ...] = ()
    backdrop_lighting: Literal["pixel", "vertex"] = "pixel"

    def scene(self, options: Options, shadows: bool) -> Scene:
        """Builds the scene for our renderer."""
        return build_scene(
            self.model,
            view=self.view,
            episode_fixed_bodies=self.episode_fixed_bodies,
            shadows=shadows,
            samples=options.samples,
            cull=options.cull,
            backdrop_lighting=self.backdrop_lighting,
        )


def task_config(task: str, options: Options) -> TrainConfig:
    """Returns the config of the paper's clips of a task, with as many initial states as calibration needs."""
    return TrainConfig(
        env=EnvConfig(task=task, bank_size=CALIBRATION_EPISODES),
        video=VideoConfig(size=options.size, frame_stride=options.frame_stride),
    )


def task_subject(env: SawyerEnv, env_params: EnvParams, video: VideoConfig) -> Subject:
    """Returns the kept frames of the expert's episode."""
    poses = expert_poses(env, env_params, video.episode_length)
    kept = jax.tree.map(lambda x: x[:: video.frame_stride], poses)
    view = View(camera=env.camera, size=video.size)
    return Subject(env.name, env.mj_model, view, kept, tuple(env.episode_fixed_bodies))


def kitchen_subject(size: int) -> Subject | None:
    """Returns FrankaKitchen's initial state, or prints a line and returns None without gymnasium-robotics."""
    try:
        env, _ = envs.make("kitchen-kettle", backend="c", seeds=range(1))
    except ValueError as error:
        print(f"FrankaKitchen is left out: {error}")
        return None
    assert isinstance(env, KitchenEnv)
    data, view = env.initial_data(), View(camera=env.camera, crop=env.view, size=size)
    poses = GeomPoses.of_leaves(pos=data.geom_xpos[None].copy(), mat=data.geom_xmat.reshape(1, -1, 3, 3).copy())
    return Subject("franka-kitchen", env.mj_model, view, poses, backdrop_lighting=env.backdrop_lighting)


def our_frames(subject: Subject, scene: Scene) -> UInt8[np.ndarray, "F H W 3"]:
    """Draws the subject with our renderer."""
    poses = jax.tree.map(lambda x: np.asarray(x, np.float32)[None], subject.poses)
    return np.asarray(jax.jit(render_frames)(scene, take_poses(scene, poses))[0])


def opengl_frames(subject: Subject, options: Options, shadows: bool) -> UInt8[np.ndarray, "F H W 3"]:
    """Draws the subject with MuJoCo's OpenGL renderer."""
    with OpenGL(subject.model, subject.view, shadows=shadows, samples=options.samples, cull=options.cull) as renderer:
        return renderer.draw(subject.poses)


def compare_frames(theirs: UInt8[np.ndarray, "F H W 3"], ours: UInt8[np.ndarray, "F H W 3"]) -> dict[str, float]:
    """Returns the mean and the worst over the frames of PSNR, SSIM and the distance of edges in pixels.

    The 95th percentile of the distance is over all edge pixels.
    """
    pairs = list(zip(theirs, ours, strict=True))
    psnrs = [metrics.psnr(a, b) for a, b in pairs]
    ssims = [metrics.ssim(a, b) for a, b in pairs]
    distances = [metrics.edge_distances(a, b) for a, b in pairs]
    means = [float(d.mean()) if len(d) else 0.0 for d in distances]
    all_distances = np.concatenate(distances)
    return {
        "psnr": float(np.mean(psnrs)),
        "psnr_worst": min(psnrs),
        "ssim": float(np.mean(ssims)),
        "ssim_worst": min(ssims),
        "edge_px": float(np.mean(means)),
        "edge_px_worst": max(means),
        "edge_px_p95": float(np.percentile(all_distances, 95)) if len(all_distances) else 0.0,
    }


def compare_embeddings(
    world: World, config: TrainConfig, theirs: UInt8[np.ndarray, "F H W 3"], ours: UInt8[np.ndarray, "F H W 3"]
) -> dict[str, float]:
    """Returns the cosine between both videos of the expert's episode, and as a scale those of different episodes.

    The latter are the mean over pairs of the expert's episodes from different initial states, and the mean over pairs
    of this episode and one of an untrained policy. All are drawn by our renderer, and none of them is used to calibrate
    the encoder. Calibration subtracts what all episodes have in common, so that the cosines depend only on the small
    differences; the `plain_` cosines are without this subtraction.
    """
    encoder = calibrated_encoder(config, world)
    common = -np.asarray(encoder.params["video"]["fc"]["bias"])
    embed = jax.jit(embed_frames, static_argnums=(0, 3))

    def embeddings(clips: Iterable[np.ndarray]) -> Float[np.ndarray, "n D"]:
        parts = [embed(encoder.network, encoder.params, clip[None], config.video) for clip in clips]
        return np.concatenate([np.asarray(part) for part in parts])

    theirs_z, ours_z = embeddings([theirs, ours])
    experts = embeddings(expert_clips(world, config))
    untrained = embeddings(untrained_clips(world, config.video, jax.random.key(config.encoder_seed + 1)))
    pairs = itertools.combinations(experts, 2)
    return {
        "cosine": metrics.cosine(theirs_z, ours_z),
        "cosine_other_start": float(np.mean([metrics.cosine(a, b) for a, b in pairs])),
        "cosine_untrained": float(np.mean([metrics.cosine(ours_z, b) for b in untrained])),
        "plain_cosine": metrics.cosine(theirs_z + common, ours_z + common),
        "plain_cosine_untrained": float(np.mean([metrics.cosine(ours_z + common, b + common) for b in untrained])),
        "relative_difference": float(np.linalg.norm(theirs_z - ours_z) / np.linalg.norm(theirs_z)),
    }


def expert_clips(world: World, config: TrainConfig) -> list[UInt8[np.ndarray, "F H W 3"]]:
    """Returns the expert's episodes from different initial states.

    There are as many as calibration has, so that the environment's step compiles once.
    """
    starts = range(CALIBRATION_EPISODES)
    poses = run_expert(world.env, world.train_params, starts, config.video.episode_length).poses
    episodes = [jax.tree.map(lambda x, i=i: x[:, i], poses) for i in starts]
    return [draw_episode(world.scene, episode, config.video) for episode in episodes]


def side_by_side(theirs: UInt8[np.ndarray, "H W 3"], ours: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H w 3"]:
    """Joins OpenGL's image, ours, and four times their difference."""
    difference = np.minimum(4 * np.abs(theirs.astype(int) - ours), 255).astype(np.uint8)
    return np.concatenate([theirs, ours, difference], axis=1)


def compare(options: Options) -> Iterator[dict[str, Any]]:
    """Yields one row for each scene and shadow setting, and writes an image of each one's worst frame."""
    settings = {"both": (False, True), "off": (False,), "on": (True,)}[options.shadows]
    for task in options.tasks:
        config = task_config(task, options)
        env, params = make_env(config)
        assert isinstance(env, SawyerEnv)
        subject = task_subject(env, params, config.video)
        for shadows in settings:
            scene = subject.scene(options, shadows)
            world = World(env, params, params, scene) if options.embed else None
            yield compare_subject(subject, scene, options, shadows, config, world)
    subject = kitchen_subject(options.size) if options.kitchen else None
    if subject is not None:
        for shadows in settings:
            yield compare_subject(subject, subject.scene(options, shadows), options, shadows)


def compare_subject(
    subject: Subject,
    scene: Scene,
    options: Options,
    shadows: bool,
    config: TrainConfig | None = None,
    world: World | None = None,
) -> dict[str, Any]:
    """Returns one row of the result, with embeddings if a world is given."""
    theirs, ours = opengl_frames(subject, options, shadows), our_frames(subject, scene)
    row: dict[str, Any] = {
        "scene": subject.name,
        "frames": len(theirs),
        "shadows": shadows,
        **compare_frames(theirs, ours),
    }
    if world is not None and config is not None:
        row |= compare_embeddings(world, config, theirs, ours)
    worst = int(np.argmin([metrics.psnr(a, b) for a, b in zip(theirs, ours, strict=True)]))
    options.out_dir.mkdir(parents=True, exist_ok=True)
    path = options.out_dir / f"{subject.name}-{'shadows' if shadows else 'plain'}-{options.size}.png"
    image = side_by_side(theirs[worst], ours[worst])
    Image.fromarray(image & _KEPT_BITS).save(path, optimize=True)
    return row | {"picture": path.name}


def report(options: Options) -> dict[str, Any]:
    """Returns the result of all comparisons."""
    return {
        "jax": jax.__version__,
        "mujoco": mujoco.__version__,
        "platform": jax.devices()[0].platform,
        "size": options.size,
        "samples": options.samples,
        "cull": options.cull,
        "frame_stride": options.frame_stride,
        "encoder": "S3D, random weights, seed 0, calibrated on untrained episodes",
        "goals": GOALS,
        "rows": list(compare(options)),
    }


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    lines = [
        f"{result['size']}x{result['size']}, {result['samples']} samples per pixel; the worst frame in brackets.",
        f"Goals: PSNR {GOALS['psnr']:.0f} dB, SSIM {GOALS['ssim']} (250x250, no shadows), cosine {GOALS['cosine']}.",
        "S3D's weights are random.",
        "",
        "| scene | shadows | PSNR dB | SSIM | edges apart px (95 %) | cosine | other start / untrained "
        "| not centred | untrained |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join(lines + [_line(row) for row in result["rows"]])


def _line(row: dict[str, Any]) -> str:
    cells = [
        row["scene"],
        "on" if row["shadows"] else "off",
        f"{row['psnr']:.1f} ({row['psnr_worst']:.1f}){_missed(row, 'psnr')}",
        f"{row['ssim']:.3f} ({row['ssim_worst']:.3f}){'' if row['shadows'] else _missed(row, 'ssim')}",
        f"{row['edge_px']:.2f} ({row['edge_px_p95']:.1f})",
        f"{row['cosine']:.4f}{_missed(row, 'cosine')}" if "cosine" in row else "-",
        f"{row['cosine_other_start']:.3f} / {row['cosine_untrained']:.3f}" if "cosine" in row else "-",
        f"{row['plain_cosine']:.4f}" if "cosine" in row else "-",
        f"{row['plain_cosine_untrained']:.4f}" if "cosine" in row else "-",
    ]
    return "| " + " | ".join(cells) + " |"


def _missed(row: dict[str, Any], measure: str) -> str:
    """A note if a measure is below its goal."""
    return "" if row[measure] >= GOALS[measure] else " missed"


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    result = report(options)
    print(table(result))
    save(result, options.out)


if __name__ == "__main__":
    main()
