"""Demonstration videos: a file of the user's, or an episode of the task's expert policy, recorded once and cached."""

import contextlib
import zipfile
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from rcjax.config import EXPERT, TaskSpec, VideoConfig
from rcjax.envs.experts import run_expert
from rcjax.envs.fingerprint import fingerprint
from rcjax.envs.mjx_env import EnvParams, MjxEnv
from rcjax.files import cache_folder, write_arrays
from rcjax.prefixes import open_video, whole_clip
from rcjax.render import Scene, WarpScene, render_frames, take_poses
from rcjax.types import GeomPoses

OFFICIAL_EPISODE = 500  # control steps of Metaworld's own episodes
AFTERMATH = 10  # control steps that a demonstration continues after the expert's success


def given_clips(spec: TaskSpec, video: VideoConfig) -> dict[str, UInt8[np.ndarray, "F H W 3"]]:
    """Returns the clips of demonstrations that are files, resampled to the encoder's number of frames and size.

    They are named by their paths. The only frame of a clip is the last one, as of an episode
    (`VideoConfig.kept_steps`). The expert's video is not among them, because it has to be recorded (`expert_clip`).
    Raises ValueError for a file that is missing or unreadable.
    """
    paths = [path for path in spec.video + spec.minus_video if path != EXPERT]
    return {path: whole_clip(open_video(path), video) for path in paths}


def expert_clip(
    env: MjxEnv, env_params: EnvParams, scene: Scene | WarpScene, video: VideoConfig
) -> UInt8[np.ndarray, "F H W 3"]:
    """Returns the clip of an episode of the task's expert policy in this environment, drawn in `scene`."""
    return draw_episode(scene, expert_poses(env, env_params, video.episode_length), video)


def draw_episode(scene: Scene | WarpScene, poses: GeomPoses, video: VideoConfig) -> UInt8[np.ndarray, "F H W 3"]:
    """Draws the kept frames of one episode, given the poses [T G ...] of every geom after every control step."""
    kept = jax.tree.map(lambda x: jnp.asarray(x)[None, list(video.kept_steps)], poses)
    return np.asarray(jax.jit(render_frames)(scene, take_poses(scene, kept))[0])


def expert_poses(env: MjxEnv, env_params: EnvParams, episode_length: int, n_tries: int = 8) -> GeomPoses:
    """Returns the poses [T G ...] of an episode in which the task's expert policy succeeds, recorded once and cached.

    This is the first success among the first `n_tries` starts of the bank. An expert that needs more than
    `episode_length` control steps is shown in fast motion, up to shortly after its success. Raises ValueError if no
    episode succeeds.
    """
    path = cache_folder() / "experts" / f"{env.name}-{fingerprint(env, env_params, episode_length)}.npz"
    stored = _load(path)
    if stored is not None:
        return stored
    rows = (np.arange(n_tries) % env_params.bank_size).tolist()
    for steps in (episode_length, max(episode_length, OFFICIAL_EPISODE)):
        episodes = run_expert(env, env_params, rows, steps)
        succeeded = np.flatnonzero(np.asarray(episodes.success).any(0))
        if len(succeeded):
            break
    else:
        raise ValueError(
            f"the expert policy of {env.name} did not succeed in {n_tries} episodes of {steps} steps; "
            "use a video of your own."
        )
    first = succeeded[0]
    end = min(steps, max(episode_length, int(np.argmax(episodes.success[:, first])) + AFTERMATH))
    shown = np.linspace(0, end - 1, episode_length).round().astype(int)
    poses = jax.tree.map(lambda x: np.asarray(x[shown, first]), episodes.poses)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        write_arrays(path, {"pos": poses.pos, "mat": poses.mat})
    return poses


def _load(path: Path) -> GeomPoses | None:
    """Returns None if the file is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return GeomPoses.of_leaves(pos=stored["pos"], mat=stored["mat"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
