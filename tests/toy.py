"""Physics of a few operations, for tests of what surrounds physics: tracing and compiling MJX takes most of a minute.

With it, videos for people are as small as the encoder's: decimating meshes for 250 pixels takes as long.
"""

import functools

import jax.numpy as jnp
import pytest

from rcjax import envs, showcase
from rcjax.envs import physics

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


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments made while the patch holds move by `glide`, and are handed to nobody afterwards."""
    monkeypatch.setattr(physics, "simulate", glide)
    monkeypatch.setattr(showcase, "SIZE", SIZE)
    monkeypatch.setattr(envs, "_make_env", functools.lru_cache(envs._make_env.__wrapped__))


def move_by(motion: str) -> None:
    """For the whole of a process: "toy", or "mjx"."""
    if motion == "toy":
        physics.simulate, showcase.SIZE = glide, SIZE
