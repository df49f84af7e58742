"""The randomly initialised encoder of a run with `--encoder random`, calibrated on untrained episodes of its task."""

import jax
import numpy as np

from rcjax.config import TrainConfig, VideoConfig
from rcjax.demonstration import draw_episode
from rcjax.encoders import Encoder, random_encoder
from rcjax.envs.experts import run_policy
from rcjax.world import World

CALIBRATION_EPISODES = 8


def calibrated_encoder(config: TrainConfig, world: World) -> Encoder:
    """Returns a randomly initialised S3D, drawn with the config's `encoder_seed`.

    Its weights are calibrated on episodes of an untrained policy in the same task, so that the embedding shows how
    such episodes differ instead of what they have in common.
    """
    key_encoder, key_actions = jax.random.split(jax.random.key(config.encoder_seed))
    clips = untrained_clips(world, config.video, key_actions)
    name = f"randomly initialised S3D, seed {config.encoder_seed}"
    return random_encoder(key_encoder, clips, provenance=name, pixel_scale=config.video.pixel_scale)


def untrained_clips(world: World, video: VideoConfig, key: jax.Array) -> np.ndarray:
    """Returns clips [n F H W 3] of episodes whose actions are standard normal, as those of an untrained policy are."""
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
