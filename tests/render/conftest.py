"""The drawer scene, drawn once for all of the renderer's tests."""

import pathlib
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_depth, render_frames, take_poses
from tests.record_render import flatten_textures
from tests.render.drawer import drawer_model, drawer_states

DATA = pathlib.Path(__file__).parents[1] / "data" / "render_drawer.npz"


@pytest.fixture(scope="session")
def drawer():
    return SimpleNamespace(model=drawer_model(), states=drawer_states())


@pytest.fixture(scope="session")
def recorded():
    """MuJoCo's own pictures of the two states, see tests/record_render.py."""
    with np.load(DATA) as arrays:
        return SimpleNamespace(**arrays)


@pytest.fixture(scope="session")
def full_detail(drawer):
    """The official square with every triangle, as MuJoCo draws it: rolled camera left upside down."""
    plain = drawer_model()
    flatten_textures(plain)
    scene, flat = (
        build_scene(model, view=View(upright=False), episode_fixed_bodies=("drawer",), error_pixels=0)
        for model in (drawer.model, plain)
    )
    poses = take_poses(scene, drawer.states.poses)
    draw = jax.jit(render_frames)
    return SimpleNamespace(
        frames=np.asarray(draw(scene, poses))[0],
        flat=np.asarray(draw(flat, poses))[0],
        depth=np.asarray(jax.jit(render_depth)(scene, poses))[0],
    )
