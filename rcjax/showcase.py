"""Videos for people: upright, at 250 pixels, antialiased and with shadows, whatever the encoder sees."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.config import EXPERT, EnvConfig, TaskSpec, TrainConfig, VideoConfig
from rcjax.evaluate import evaluate_run
from rcjax.ppo import PPOConfig
from rcjax.render import render_frames
from rcjax.storage import RunFolder
from rcjax.taskspec import expert_clip, given_clip
from rcjax.types import GeomPoses
from rcjax.video_io import read_video, side_by_side, write_video
from rcjax.world import World, make_env, task_scene

SIZE = 250


def people_video(video: VideoConfig) -> VideoConfig:
    return dataclasses.replace(video, size=SIZE, mirror=False, samples=4, shadows=True, renderer="jax")


def demonstration_for_people(spec: TaskSpec, video: VideoConfig, env: Any, env_params: Any) -> np.ndarray | None:
    """The demonstration at a size for people; None for a sentence."""
    if spec.video != EXPERT:
        return given_clip(spec, people_video(video))
    return expert_clip(env, env_params, task_scene(env, people_video(video)), people_video(video))


def draw_for_people(world: World, video: VideoConfig, poses: GeomPoses) -> np.ndarray:
    """Frames `[F H W 3]` of kept poses `[F G ...]` as an iteration returns them."""
    scene = task_scene(world.env, people_video(video))
    return np.asarray(jax.jit(render_frames)(scene, jax.tree.map(lambda x: jnp.asarray(x)[None], poses))[0])


def record_expert(task: str, episode_length: int, path: Path) -> None:
    """An episode of Metaworld's expert policy, as GIF or MP4, in real time."""
    video = VideoConfig(episode_length=episode_length)
    config = TrainConfig(env=EnvConfig(task=task), video=video, ppo=PPOConfig(batch_size=episode_length))
    env, params = make_env(config)
    scene = task_scene(env, people_video(video))
    write_video(path, expert_clip(env, params, scene, people_video(video)), fps=video.frames_per_second)


def record_policy(run: RunFolder, path: Path) -> None:
    """The first evaluation episode of the run's newest policy, as GIF or MP4, in real time; of several seeds, the
    first one's."""
    program, _, judged = evaluate_run(run)
    frames = draw_for_people(program.world, run.config.video, program.first_episode(judged)[0])
    write_video(path, frames, fps=run.config.video.frames_per_second)


def policy_video(run: RunFolder, world: World, poses: GeomPoses, video_reward: float) -> None:
    """Writes policy.mp4: an episode of kept `poses`, beside the demonstration if that is a video."""
    video = run.config.video
    frames = draw_for_people(world, video, poses)
    label = f"policy: video reward {video_reward:.3g}"
    demonstration = run.path / "demonstration.mp4"
    if demonstration.exists():
        frames = side_by_side(read_video(demonstration), frames, labels=("demonstration", label))
    write_video(run.path / "policy.mp4", frames, fps=video.frames_per_second)
