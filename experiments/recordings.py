"""Demonstrations that figures need and rcjax can record: an expert's episode as a folder of pictures.

Pictures are kept without loss at the size that the encoder sees, so that a recording from the usual camera is exactly
what `--video expert` shows.
"""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from rcjax import envs
from rcjax.config import TrainConfig
from rcjax.demonstration import draw_episode, expert_poses
from rcjax.envs.mjx_env import choose_backend
from rcjax.world import task_scene

N_STARTS = 8  # the first of which is shown from which the expert succeeds


@dataclasses.dataclass(frozen=True)
class Recording:
    """An episode of a task's expert.

    Args:
        path: The folder of its pictures.
        task: The task that the expert solves.
        first_seed: The seed of the first start.
        camera: One of Metaworld's cameras; None is the one by which episodes are seen.
        recoloured: Whether red, green and blue are exchanged, as if everything were painted in other colours.
    """

    path: Path
    task: str
    first_seed: int = 0
    camera: str | None = None
    recoloured: bool = False


def record(recording: Recording, config: TrainConfig) -> None:
    """Draws the recording as the clips of runs with `config` are drawn, unless its folder exists."""
    if recording.path.exists():
        return
    starts = range(recording.first_seed, recording.first_seed + N_STARTS)
    video, backend = config.video, choose_backend(config.env.backend)
    env, params = envs.make(recording.task, seeds=starts, max_steps=video.episode_length, backend=backend)
    scene = task_scene(env, video, camera=recording.camera)
    frames = draw_episode(scene, expert_poses(env, params, video.episode_length), video)
    write_pictures(recording.path, np.roll(frames, 1, axis=-1) if recording.recoloured else frames)


def write_pictures(folder: Path, frames: np.ndarray) -> None:
    """Writes frames [F H W 3] as a folder of PNG files, which appears when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for i, frame in enumerate(frames):
            Image.fromarray(frame).save(building / f"{i:03d}.png")
        building.chmod(0o755)
        _rename(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _rename(building: Path, folder: Path) -> None:
    """Renames `building` to `folder`, or removes it if another process has made that folder meanwhile."""
    try:
        building.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(building)
