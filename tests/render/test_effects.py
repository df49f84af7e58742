"""Tests transparency, shadows, samples and lights against recorded images of MuJoCo's renderer, and by formula."""

import dataclasses
import functools

import jax
import mujoco
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_frames, take_poses
from tests.generators.effects import DATA, SCENES, SIZE
from tests.render.primitives import initial_poses, model_of

VIEW = View(camera="eye", frame_height=SIZE, frame_width=SIZE, crop=SIZE, size=SIZE)


@pytest.fixture(scope="module")
def recorded():
    with np.load(DATA) as arrays:
        return dict(arrays)


def _frame(model, view=VIEW, **options):
    scene = build_scene(model, view=view, **options)
    return np.asarray(jax.jit(render_frames)(scene, take_poses(scene, initial_poses(model))))[0, 0]


def _inner(difference):
    """The difference without outlines: each pixel gets the smallest difference around it."""
    smallest = np.stack([np.roll(difference, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]).min(0)
    return smallest


QUICK = ("glass_in_the_sun", "lamp_without_shadows")  # together they have every effect but shadows of a lamp


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCENES]
)
def test_effects_are_mujocos(recorded, name):
    xml, shadows = SCENES[name]
    ours = _frame(mujoco.MjModel.from_xml_string(xml), shadows=shadows)
    difference = np.abs(ours.astype(int) - recorded[name]).max(-1)
    psnr = 10 * np.log10(255**2 / np.mean((ours.astype(float) - recorded[name]) ** 2))
    print(
        f"{name}: PSNR {psnr:.1f}, off by more than 12 {(difference > 12).mean():.4f}, inner {_inner(difference).max()}"
    )
    assert psnr > LEAST_PSNR[name]
    assert _inner(difference).max() <= 12  # only outlines and edges of shadows differ


# 50.0, 41.7, 39.7, 40.7 and 41.5 measured. Outlines and edges of shadows differ, and light is computed per pixel
# instead of per vertex.
LEAST_PSNR = {"glass": 47, "sun": 39.5, "lamp": 37.5, "lamp_without_shadows": 38.5, "glass_in_the_sun": 39.5}


@pytest.mark.slow
def test_shadows_do_not_depend_on_what_moves(recorded):
    """The image is the same whether the ball and the brick are drawn once or in every frame."""
    model = mujoco.MjModel.from_xml_string(SCENES["sun"][0])
    moving = _frame(model, shadows=True)
    spec = mujoco.MjSpec.from_string(SCENES["sun"][0])
    for joint in list(spec.joints):
        spec.delete(joint)
    still = _frame(spec.compile(), shadows=True)
    assert (np.abs(moving.astype(int) - still).max(-1) > 4).mean() < 2e-3  # the map's window differs a little


def test_samples_average_a_finer_image():
    model = model_of('<geom type="box" size=".5 .3 .4" quat=".9 .1 .3 .2" rgba=".9 .2 .1 1"/>')
    fine = _frame(model, dataclasses.replace(VIEW, size=3 * SIZE)).astype(float)
    mean = fine.reshape(SIZE, 3, SIZE, 3, 3).mean((1, 3))
    off = np.abs(_frame(model, samples=9) - mean)
    assert np.median(off) <= 0.5 and (off > 4).mean() < 2e-3  # rounding; shaded at the pixel's centre only


@pytest.mark.parametrize("mirror", [False, True])
def test_four_samples_lie_where_opengl_has_them(mirror):
    """A vertical edge that moves over a pixel crosses one sample at a time: at 1/8, 3/8, 5/8 and 7/8."""
    levels = []
    for offset in (0.0, 0.25, 0.5, 0.75, 1.0):
        model = model_of('<geom type="box" size="2 .01 2" pos="2 0 0" rgba="1 1 1 1"/>')
        model.cam_pos[0], model.cam_quat[0] = [0, -3, 0], [0.5**0.5, 0.5**0.5, 0, 0]
        pixel = 2 * 3 * np.tan(np.radians(20)) / 16 * 2.99 / 3  # metres at the box's face
        model.body_pos[1][0] = model.qpos0[0] = offset * pixel
        view = View(camera="eye", frame_height=16, frame_width=16, crop=16, size=16, mirror=mirror)
        row = _frame(model, view, samples=4)[8, :, 0].astype(float)
        levels.append(row[7 if mirror else 8] / row.max())
    np.testing.assert_allclose(levels, [1, 0.75, 0.5, 0.25, 0], atol=0.02)  # rounding to 8 bits


@pytest.mark.slow
def test_lookup_methods_agree(monkeypatch):
    """The method for accelerators without fast gathers gives the same frames as the one for CPUs.

    XLA optimises here as in users' programs. Without optimisation, it computes what `by_varyings` compares twice, with
    different rounding.
    """
    monkeypatch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1}))
    model = mujoco.MjModel.from_xml_string(SCENES["glass_in_the_sun"][0])
    by_index, by_varyings = (_frame(model, shadows=True, samples=4, lookup=lookup) for lookup in ("index", "varyings"))
    assert np.abs(by_index.astype(int) - by_varyings).max() <= 2  # rounding; depth at the sample or the centre


def test_point_light_falls_off_by_its_attenuation():
    """A wall facing a light that is 2 m away: ambient + diffuse / (a + b d + c d^2)."""
    light = '<light type="point" pos="0 -2 0" attenuation=".5 .25 .125" diffuse=".8 .8 .8" ambient="0 0 0"/>'
    wall = '<geom type="box" size="4 .1 4" pos="0 .1 0" material="matt"/>'
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><visual><headlight active="0"/></visual><asset><material name="matt" specular="0" '
        f'rgba=".5 .25 .75 1"/></asset><worldbody>{light}<camera name="eye" pos="0 -3 0" xyaxes="1 0 0 0 0 1"/>'
        f"<body><freejoint/>{wall}</body></worldbody></mujoco>"
    )
    frame = _frame(model, View(camera="eye", frame_height=480, frame_width=480, crop=11, size=11))
    expected = 255 * np.array([0.5, 0.25, 0.75]) * 0.8 / (0.5 + 0.25 * 2 + 0.125 * 4)
    np.testing.assert_allclose(frame[5, 5], expected, atol=1)  # one level of rounding


def test_geom_groups_are_chosen():
    model = model_of('<geom type="sphere" size=".5" group="3" rgba="1 0 0 1"/>')
    assert _frame(model, geom_groups=(0, 1, 2)).max() == 0
    assert _frame(model, geom_groups=(3,)).max() > 100


def test_what_cannot_be_drawn_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log of its warnings about the cloth into the working directory
    model = model_of('<geom type="sphere" size=".5"/>')
    with pytest.raises(ValueError, match="samples=3; a pixel is drawn with 1, 4, 9 or 16"):
        build_scene(model, view=VIEW, samples=3)
    light = '<light name="sky" type="image" texture="t"/>'
    asset = '<asset><texture name="t" type="cube" builtin="flat" width="4" height="4" rgb1="1 1 1"/></asset>'
    lit = mujoco.MjModel.from_xml_string(
        f'<mujoco>{asset}<worldbody>{light}<camera name="eye"/><geom size=".1"/></worldbody></mujoco>'
    )
    with pytest.raises(ValueError, match="light 'sky' is an image"):
        build_scene(lit, view=VIEW)
    cloth = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><camera name="eye"/><flexcomp name="cloth" type="grid" count="3 3 1" spacing=".1 .1 .1" '
        'mass="1" dim="2"/></worldbody></mujoco>'
    )
    with pytest.raises(ValueError, match=r"1 flex\(s\), which cannot be drawn"):
        build_scene(cloth, view=VIEW)
