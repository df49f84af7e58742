"""Replaces physics and encoder by a few operations, for tests of everything around them.

Tracing and compiling MJX takes most of a minute, and S3D a quarter of a minute. Videos to watch become as small and
plain as those of the encoder, because decimating meshes for 250 pixels takes as long.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import envs, showcase, train, world
from rcjax.encoders.s3d import network
from rcjax.envs import physics
from rcjax.rewards.choose import policy_obs_size
from rcjax.types import Transitions
from tests.encoders import tiny

SIZE = 32  # pixels of videos to watch


def glide(model, state, ctrl, *, substeps, barriers=False, lead=None):
    """Replaces `physics.simulate`: the arm moves with the mocap body that holds its hand, and its first joint turns.

    This is deterministic, depends on the action, and never diverges.
    """
    del ctrl, substeps, barriers, lead
    holder, hand = int(model.eq_obj1id[0]), int(model.eq_obj2id[0])
    arm = model.body_rootid == model.body_rootid[hand]
    place = state.mocap_pos[model.body_mocapid[holder]]
    moved = place - state.poses.body_pos[holder]
    poses = state.poses.replace(
        body_pos=(state.poses.body_pos + arm[:, None] * moved).at[holder].set(place),
        geom_pos=state.poses.geom_pos + arm[model.geom_bodyid][:, None] * moved,
    )
    return state.replace(qpos=state.qpos.at[0].add(jnp.sum(moved)), poses=poses)


def embed(params, clips, *, dtype, pixel_scale, graph, architecture, size=None):
    """Replaces `embed_video`: the last layer of S3D's video tower, on means of pixels instead of earlier layers.

    This is deterministic, and depends on every pixel, except for a few if their number is no multiple of the layer's.
    """
    del dtype, graph, architecture, size
    last, pixels = params["video"]["fc"], clips.reshape(len(clips), -1)
    n_inputs = len(last["kernel"])
    shared = pixels[:, : pixels.shape[1] // n_inputs * n_inputs]
    pooled = (shared.reshape(len(clips), n_inputs, -1) * pixel_scale).mean(-1)
    return pooled @ last["kernel"] + last["bias"]


def encoder(config, world):
    """Replaces `calibrated_encoder`: it is narrow, and calibrated on noise, so that no policy has to be run."""
    del world
    return tiny.make_random_encoder(config.encoder_seed)


def plain(video):
    """Replaces `watchable`."""
    return dataclasses.replace(video, size=SIZE, mirror=False)


def expert(world, config):
    """Replaces `expert_transitions`: the toy's expert does not succeed."""
    n, draw = config.expert_episodes * config.video.episode_length, np.random.default_rng(0)
    obs = draw.normal(size=(n, policy_obs_size(config, world.env))).astype(np.float32)
    action = draw.uniform(-1, 1, (n, world.env.num_actions)).astype(np.float32)
    done = (np.arange(1, n + 1) % config.video.episode_length == 0).astype(np.float32)
    return Transitions.of_leaves(obs=obs, action=action, next_obs=np.roll(obs, -1, axis=0), done=done)


TOYS = (
    (physics, "simulate", glide),
    (world, "choose_backend", lambda name: "jax"),
    (network, "embed_video", embed),
    (train, "calibrated_encoder", encoder),
    (train, "expert_transitions", expert),
    (showcase, "watchable", plain),
    (showcase, "SIZE", SIZE),
)


@contextlib.contextmanager
def installed(**others: Callable) -> Iterator[None]:
    """Installs the replacements, of which `others` replaces some by name, while the context lasts.

    Environments and traces that are made with the replacements are not reused outside of it, nor the other way round.
    """
    jax.clear_caches()
    with pytest.MonkeyPatch.context() as patch:
        for module, name, toy in TOYS:
            patch.setattr(module, name, others.get(name, toy))
        patch.setattr(envs, "_make_env", functools.lru_cache(envs._make_env.__wrapped__))
        yield
    jax.clear_caches()


def move_by(motion: str) -> None:
    """Installs the replacements for the rest of the process if `motion` is "toy", and nothing if it is "real"."""
    if motion == "toy":
        for toy in TOYS:
            setattr(*toy)
