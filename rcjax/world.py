"""What a config names, built on the host: the environment, its starts, its scene, the encoder."""

import dataclasses
from typing import Any

import jax
import numpy as np

from rcjax import envs
from rcjax.config import TrainConfig, VideoConfig
from rcjax.embedding import choose_micro_batch
from rcjax.envs.experts import run_policy
from rcjax.render import Scene, View, WarpScene, build_scene, build_warp_scene
from rcjax.s3d import Encoder, random_encoder
from rcjax.taskspec import draw_episode

CALIBRATION_EPISODES = 8


@dataclasses.dataclass(frozen=True)
class World:
    """The task's environment, its two banks of starts, and its scene as the encoder sees it."""

    env: Any
    train_params: Any
    eval_params: Any
    scene: Scene | WarpScene


def build_world(config: TrainConfig) -> World:
    """Raises ValueError for an unknown task."""
    env, train_params = make_env(config)
    eval_params = train_params.replace(bank=env.build_reset_bank(config.env.eval_seeds, config.env.random_source))
    # Only MJX-Warp's renderer has to know how many pictures it draws at a time.
    n_episodes = choose_micro_batch(config.micro_batch, config.seeds * config.n_envs, config.video)
    return World(env, train_params, eval_params, task_scene(env, config.video, n_episodes))


def make_env(config: TrainConfig) -> tuple[Any, Any]:
    """The environment and its parameters with the bank of training's starts."""
    return envs.make(
        config.env.task,
        seeds=config.env.train_seeds,
        random_source=config.env.random_source,
        goal_hidden=config.env.goal_hidden,
        max_steps=config.video.episode_length,
        reward_version=config.env.reward_version,
        backend=config.env.backend,
    )


def task_scene(env: Any, video: VideoConfig, n_episodes: int = 1, chunk: int | None = None) -> Scene | WarpScene:
    """The task's scene as the encoder sees it, drawn `n_episodes` at a time; `chunk` is `build_scene`'s.

    Raises ValueError where the renderer that `video` names is not to be had.
    """
    view = View(camera=env.camera, size=video.size, mirror=video.mirror)
    looks: dict[str, Any] = {
        "view": view,
        "episode_fixed_bodies": env.episode_fixed_bodies,
        "samples": video.samples,
        "shadows": video.shadows,
    }
    if video.renderer == "warp":
        return build_warp_scene(env.mj_model, n_pictures=n_episodes * video.n_frames, **looks)
    return build_scene(env.mj_model, chunk=chunk, **looks)


def calibrated_encoder(config: TrainConfig, world: World) -> Encoder:
    """A randomly initialised S3D, drawn with the config's encoder_seed.

    Its weights are calibrated on an untrained policy's episodes of this very task, so that the embedding tells
    such episodes apart instead of showing what all of them have in common.
    """
    key_encoder, key_actions = jax.random.split(jax.random.key(config.encoder_seed))
    clips = untrained_clips(world, config.video, key_actions)
    name = f"randomly initialised S3D, seed {config.encoder_seed}"
    return random_encoder(key_encoder, clips, provenance=name, pixel_scale=config.video.pixel_scale)


def untrained_clips(world: World, video: VideoConfig, key: jax.Array) -> np.ndarray:
    """Clips `[n F H W 3]` of episodes whose actions are drawn from a standard normal, as a new policy's are."""
    seed = np.asarray(jax.random.key_data(key)).tolist()
    draw = np.random.default_rng(seed)
    episodes = run_policy(
        world.env,
        world.train_params,
        lambda obs: draw.standard_normal((len(obs), world.env.num_actions)),
        (np.arange(CALIBRATION_EPISODES) % world.train_params.bank_size).tolist(),
        video.episode_length,
    )
    poses = [jax.tree.map(lambda x, i=i: x[:, i], episodes.poses) for i in range(CALIBRATION_EPISODES)]
    return np.stack([draw_episode(world.scene, episode, video) for episode in poses])
