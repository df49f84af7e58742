"""Physics and an encoder of a few operations, for tests of what surrounds them: tracing and compiling MJX takes most of
a minute, and S3D a quarter.

With them, videos for people are as small and plain as the encoder's: decimating meshes for 250 pixels takes as long.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import embedding, envs, showcase, train
from rcjax.envs import physics
from rcjax.s3d import random_encoder

SIZE = 32  # pixels of videos for people


def glide(model, state, ctrl, *, substeps, barriers=False):
    """The whole arm moves with the mocap body that holds its hand, and its first joint turns by as much.

    In place of `physics.simulate`: deterministic, different for different actions, and nothing ever explodes.
    """
    del ctrl, substeps, barriers
    holder, hand = int(model.eq_obj1id[0]), int(model.eq_obj2id[0])
    arm = model.body_rootid == model.body_rootid[hand]
    place = state.mocap_pos[model.body_mocapid[holder]]
    moved = place - state.poses.body_pos[holder]
    poses = state.poses.replace(
        body_pos=(state.poses.body_pos + arm[:, None] * moved).at[holder].set(place),
        geom_pos=state.poses.geom_pos + arm[model.geom_bodyid][:, None] * moved,
    )
    return state.replace(qpos=state.qpos.at[0].add(jnp.sum(moved)), poses=poses)


def embed(params, clips, *, dtype, pixel_scale, graph):
    """The last layer of S3D's video tower, of means over the clip's numbers instead of what comes before it.

    In place of `embed_video`: deterministic, and different where a pixel is.
    """
    del dtype, graph
    last = params["video"]["fc"]
    pooled = (clips.reshape(len(clips), len(last["kernel"]), -1) * pixel_scale).mean(-1)
    return pooled @ last["kernel"] + last["bias"]


def encoder(config, world):
    """In place of `calibrated_encoder`: calibrated on noise, so that no policy has to be run for it."""
    del world
    clips = np.random.default_rng(0).integers(0, 256, (4, 2, 32, 32, 3), np.uint8)
    return random_encoder(jax.random.key(config.encoder_seed), clips, provenance="noise")


def plain(video):
    """In place of `people_video`."""
    return dataclasses.replace(video, size=SIZE, mirror=False)


TOYS = (
    (physics, "simulate", glide),
    (embedding, "embed_video", embed),
    (train, "calibrated_encoder", encoder),
    (showcase, "people_video", plain),
    (showcase, "SIZE", SIZE),
)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments made while the patch holds move by `glide`, and are handed to nobody afterwards."""
    for toy in TOYS:
        monkeypatch.setattr(*toy)
    monkeypatch.setattr(envs, "_make_env", functools.lru_cache(envs._make_env.__wrapped__))


def move_by(motion: str) -> None:
    """For the whole of a process: "toy", or "mjx"."""
    if motion == "toy":
        for toy in TOYS:
            setattr(*toy)
