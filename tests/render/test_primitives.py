"""Compares each primitive with MuJoCo's ray caster, and tests clipping, culling and lighting."""

import jax
import mujoco
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_depth, render_frames, take_poses
from tests.render.primitives import CAMERA, cast_depth, initial_poses, model_of

SIZE = 48
VIEW = View(camera="eye", frame_height=480, frame_width=480, crop=480, size=SIZE)
GEOMS = {
    "sphere": '<geom type="sphere" size=".5"/>',
    "box": '<geom type="box" size=".4 .3 .5" euler="20 30 40"/>',
    "capsule": '<geom type="capsule" size=".25 .4" euler="30 50 0"/>',
    "cylinder": '<geom type="cylinder" size=".35 .4" euler="50 20 0"/>',
    "ellipsoid": '<geom type="ellipsoid" size=".6 .3 .4" euler="20 30 40"/>',
    "mesh": '<geom type="mesh" mesh="wedge"/>',
}
WEDGE = '<asset><mesh name="wedge" vertex="-.5 -.5 -.4  .5 -.5 -.4  0 .5 -.4  0 0 .6"/></asset>'


def _draw(model, **settings):
    scene = build_scene(model, view=VIEW, **settings)
    poses = take_poses(scene, initial_poses(model))
    depth = jax.jit(render_depth)(scene, poses)
    return scene, np.asarray(depth)[0, 0]


def _model(kind):
    if kind != "mesh":
        return model_of(GEOMS[kind])
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><statistic extent="4"/>{WEDGE}<worldbody>{CAMERA}'
        f"<body><freejoint/>{GEOMS[kind]}</body></worldbody></mujoco>"
    )


@pytest.mark.parametrize("kind", GEOMS)
def test_depth_is_the_ray_casters(kind):
    model = _model(kind)
    scene, depth = _draw(model)
    expected = cast_depth(model, scene.camera, SIZE)
    ours = depth < float(scene.camera.far) * 0.99
    theirs = np.isfinite(expected)
    # facets are within 1/8 pixel of a round surface, so only pixels on the outline may differ
    outline = 2 * sum(np.abs(np.diff(theirs.astype(int), axis=axis)).sum() for axis in (0, 1))
    assert theirs.sum() > 100
    assert (ours != theirs).sum() <= 0.08 * outline
    both = ours & theirs
    error = np.abs(depth - expected)[both]
    assert np.median(error) < 0.012  # metres; 1/8 pixel is 6 mm at 3 m, and facets deviate in both directions
    flat = kind in ("box", "mesh")
    assert np.quantile(error, 0.95) < (1e-4 if flat else 0.05)  # float32; facets seen at a grazing angle


def test_floor_under_the_camera_is_clipped_not_lost():
    """The plane reaches behind the camera, and none of its corners is in the image."""
    model = model_of('<geom size=".01"/>', world='<geom type="plane" size="0 0 1" pos="0 0 -.5"/>')
    scene, depth = _draw(model)
    expected = cast_depth(model, scene.camera, SIZE)
    seen = np.isfinite(expected) & (expected < 50)
    assert seen.sum() > 500
    np.testing.assert_allclose(depth[seen], expected[seen], rtol=2e-4)  # float32 at a grazing angle


def test_sphere_has_no_cracks_and_a_discs_area():
    model = model_of('<geom type="sphere" size=".8"/>', world='<geom type="box" size="9 .1 9" pos="0 3 0"/>')
    scene, depth = _draw(model)
    rows, columns = np.nonzero(depth < 4.0)
    distance = float(np.linalg.norm(np.asarray(scene.camera.pos)))
    radius = 0.8 / np.sqrt(distance**2 - 0.64) / abs(float(scene.camera.dx))  # pixels, towards the centre
    assert abs(len(rows) / (np.pi * radius**2) - 1) < 0.04  # off the axis it is a slightly larger ellipse; facets
    for row in np.unique(rows):
        line = np.sort(columns[rows == row])
        assert (np.diff(line) == 1).all()  # the wall does not show through a hole


def test_back_faces_are_culled():
    """From inside a closed box, the camera looks out, as in MuJoCo."""
    model = model_of('<geom type="sphere" size=".3"/>', world='<geom type="box" size="9 9 9"/>')
    scene, depth = _draw(model)
    assert 2.5 < depth[SIZE // 2, SIZE // 2] < 3.1
    np.testing.assert_allclose(depth[0, 0], float(scene.camera.far), rtol=1e-5)  # the key's last 4 bits


def test_an_open_mesh_shows_its_inside_unless_culled():
    """MuJoCo's ray caster hits triangles from either side; culled, the wall behind the box shows in its opening."""
    model = _open_box()
    scene, whole = _draw(model, cull=False)
    expected = cast_depth(model, scene.camera, SIZE)
    np.testing.assert_allclose(whole, expected, atol=1e-4)  # float32; metres
    culled = _draw(model)[1]
    seen_through = np.abs(culled - expected) > 1e-4
    assert seen_through.sum() > 400  # 449 measured
    assert expected[seen_through].max() < 4 < culled[seen_through].min()  # the box and the wall


def test_the_inside_is_lit_by_the_outsides_normals():
    """MuJoCo does not turn normals round, so a light at the camera adds nothing but its ambient part."""
    model = _open_box()
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.2, 0.7
    scene = build_scene(model, view=VIEW, cull=False)
    frame = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, initial_poses(model))))[0, 0]
    np.testing.assert_allclose(frame[SIZE // 2, SIZE // 2], 255 * 0.2 * np.array([0.8, 0.2, 0.1]), atol=1)  # rounding


def _open_box():
    """A cube without the side that faces the camera, in front of a wall."""
    return mujoco.MjModel.from_xml_string(
        '<mujoco><statistic extent="4"/><asset><mesh name="open" inertia="shell" '
        'vertex="-.5 -.5 -.5  .5 -.5 -.5  -.5 .5 -.5  .5 .5 -.5  -.5 -.5 .5  .5 -.5 .5  -.5 .5 .5  .5 .5 .5" '
        'face="2 6 7 2 7 3  0 4 6 0 6 2  1 3 7 1 7 5  4 5 7 4 7 6  0 2 3 0 3 1"/></asset>'
        f'<worldbody>{CAMERA}<geom type="box" size="3 .1 3" pos="0 2 0"/><body quat=".95 .2 .1 .2"><freejoint/>'
        '<geom type="mesh" mesh="open" rgba=".8 .2 .1 1"/></body></worldbody></mujoco>'
    )


def test_near_plane_hides_what_touches_the_lens():
    """MuJoCo's znear is 0.01 of the extent, which is 4 cm here."""
    near = model_of("<geom type='box' size='.5 .001 .5' pos='0 -2.97 .4'/>")
    beyond = model_of("<geom type='box' size='.5 .001 .5' pos='0 -2.9 .4'/>")
    assert _draw(near)[1].min() > 100
    assert _draw(beyond)[1].min() < 0.12


@pytest.mark.parametrize("kind", ["hfield", "sdf"])
def test_a_geom_that_has_no_triangles_is_named(kind):
    if kind == "hfield":
        model = mujoco.MjModel.from_xml_string(
            '<mujoco><asset><hfield name="h" nrow="3" ncol="3" size="1 1 1 1"/></asset><worldbody>'
            '<camera name="eye" pos="0 -3 0"/><geom name="hills" type="hfield" hfield="h"/></worldbody></mujoco>'
        )
    else:
        model = _model("mesh")
        model.geom_type[0] = mujoco.mjtGeom.mjGEOM_SDF
    with pytest.raises(ValueError, match="hills.*hfield" if kind == "hfield" else "geom number 0 is a sdf"):
        build_scene(model, view=VIEW)


def test_invisible_geoms_are_not_drawn():
    model = model_of(
        '<geom type="sphere" size=".5" rgba="1 0 0 0"/><geom type="sphere" size=".5" group="3"/>'
        '<geom type="sphere" size=".1" rgba="1 0 0 1" group="2"/>'
    )
    scene, depth = _draw(model)
    assert scene.pose_geoms == (2,)
    assert 0 < (depth < 10).sum() < 60


def test_headlight_lights_a_facing_wall_by_the_formula():
    """A wall facing a directional light at the camera: ambient + diffuse + specular."""
    model = model_of(
        '<geom type="box" size="4 .1 4" pos="0 .1 0" rgba=".5 .25 .125 1"/>',
    )
    model.cam_pos[0], model.cam_quat[0] = [0, -3, 0], [0.5**0.5, 0.5**0.5, 0, 0]
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.1, 0.4
    model.vis.headlight.specular[:] = 0.3
    scene = build_scene(model, view=View(camera="eye", frame_height=480, frame_width=480, crop=11, size=11))
    frame = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, initial_poses(model))))[0, 0]
    expected = (np.array([0.5, 0.25, 0.125]) * (0.1 + 0.4) + 0.5 * 0.3) * 255  # default specular 0.5, on the axis
    np.testing.assert_allclose(frame[5, 5], expected, atol=1)  # one level of rounding
