"""Videos to watch: upright, 250 pixels wide, antialiased and with shadows, whatever the encoder sees.

The encoder sees the arm as MuJoCo draws it, with gaps between the pieces of its meshes through which the background
shows as white specks. In videos to watch, the gaps show the arm's inside.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.config import EXPERT, EnvConfig, TaskSpec, TrainConfig, VideoConfig, Which
from rcjax.demonstration import expert_clip, given_clips
from rcjax.envs.mjx_env import MjxEnv
from rcjax.evaluate import evaluate_run
from rcjax.ppo import PPOConfig
from rcjax.render import Scene, WarpScene, render_frames
from rcjax.storage import RunFolder
from rcjax.types import GeomPoses
from rcjax.video_io import read_video, side_by_side, write_video
from rcjax.world import World, make_env, task_scene

SIZE = 250


def watchable(video: VideoConfig) -> VideoConfig:
    """Returns `video` with the size and quality of videos to watch."""
    return dataclasses.replace(video, size=SIZE, mirror=False, samples=4, shadows=True, renderer="jax")


def watchable_scene(env: MjxEnv, video: VideoConfig) -> Scene | WarpScene:
    """Returns the scene of videos to watch, in which gaps in a mesh show its inside."""
    return task_scene(env, watchable(video), cull=False)


def given_demonstration(spec: TaskSpec, video: VideoConfig) -> np.ndarray | None:
    """Returns the first of the user's videos to look like, at the size of videos to watch.

    Returns None for sentences, and where the first video is the expert's.
    """
    if not spec.video or spec.video[0] == EXPERT:
        return None
    return given_clips(TaskSpec(video=spec.video[:1]), watchable(video))[spec.video[0]]


def expert_video(run: RunFolder, world: World) -> None:
    """Writes demonstration.mp4 if the first video to look like is the expert's and the file does not exist yet."""
    is_shown = run.config.reward == "video" and run.config.spec.video[:1] == (EXPERT,)
    if is_shown and not run.demonstration_path.exists():
        video = watchable(run.config.video)
        frames = expert_clip(world.env, world.train_params, watchable_scene(world.env, video), video)
        write_video(run.demonstration_path, frames, fps=run.config.frames_per_second)


def draw_watchable(world: World, video: VideoConfig, poses: GeomPoses) -> np.ndarray:
    """Draws frames [F H W 3] of kept poses [F G ...], as an iteration returns them."""
    scene = watchable_scene(world.env, video)
    return np.asarray(jax.jit(render_frames)(scene, jax.tree.map(lambda x: jnp.asarray(x)[None], poses))[0])


def record_expert(task: str, episode_length: int, path: Path) -> None:
    """Writes an episode of the task's expert policy as GIF or MP4, in real time."""
    video = VideoConfig(episode_length=episode_length)
    config = TrainConfig(env=EnvConfig(task=task), video=video, ppo=PPOConfig(batch_size=episode_length))
    env, params = make_env(config)
    scene = watchable_scene(env, video)
    write_video(path, expert_clip(env, params, scene, watchable(video)), fps=config.frames_per_second)


def record_policy(run: RunFolder, path: Path, which: Which = "last") -> None:
    """Writes the first evaluation episode of the run's policy that `which` names as GIF or MP4, in real time.

    Of a run with several seeds, this is the policy of the first seed.
    """
    evaluated = evaluate_run(run, which, starts="eval")
    poses, _ = evaluated.program.first_episode(evaluated.scored)
    frames = draw_watchable(evaluated.program.world, run.config.video, poses)
    write_video(path, frames, fps=run.config.frames_per_second)


def policy_video(run: RunFolder, world: World, poses: GeomPoses, reward: float) -> None:
    """Writes policy.mp4: the episode with these kept poses, beside the demonstration if that is a video."""
    video = run.config.video
    frames = draw_watchable(world, video, poses)
    label = f"policy: {run.config.reward} reward {reward:.3g}"
    if run.demonstration_path.exists():
        frames = side_by_side(read_video(run.demonstration_path), frames, labels=("demonstration", label))
    write_video(run.path / "policy.mp4", frames, fps=run.config.frames_per_second)
