"""Fixtures of the drawer scene, which is drawn once for all tests of the renderer."""

import pathlib
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_depth, render_frames, take_poses
from tests.generators.render import flatten_textures
from tests.render.drawer import drawer_model, drawer_states

DATA = pathlib.Path(__file__).parents[1] / "data" / "render_drawer.npz"


@pytest.fixture(scope="session")
def drawer():
    return SimpleNamespace(model=drawer_model(), states=drawer_states())


@pytest.fixture(scope="session")
def recorded():
    """Images of the two states by MuJoCo's own renderer, see tests/generators/render.py."""
    with np.load(DATA) as arrays:
        return SimpleNamespace(**arrays)


@pytest.fixture(scope="session")
def full_detail(drawer):
    """RoboCLIP's square with every triangle; the rolled camera stays upside down, as MuJoCo draws it."""
    flat_model = drawer_model()
    flatten_textures(flat_model)
    scene, flat = (
        build_scene(model, view=View(upright=False), episode_fixed_bodies=("drawer",), error_pixels=0)
        for model in (drawer.model, flat_model)
    )
    poses = take_poses(scene, drawer.states.poses)
    draw = jax.jit(render_frames)
    return SimpleNamespace(
        frames=np.asarray(draw(scene, poses))[0],
        flat=np.asarray(draw(flat, poses))[0],
        depth=np.asarray(jax.jit(render_depth)(scene, poses))[0],
    )
