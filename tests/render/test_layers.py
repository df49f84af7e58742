"""Tests of layers, poses and batches."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rcjax.encoders.s3d import space_to_depth
from rcjax.encoders.s3d.frame_stem import to_blocks
from rcjax.render import View, build_scene, render_clips, render_depth, render_frames, take_poses
from rcjax.render.blocks import blocks_of_tiles
from rcjax.render.motion import body_pose_updates
from rcjax.render.raster import TILE, tiles_per_side, untile, untile_blocks
from rcjax.render.shade import unpack_colour
from rcjax.types import GeomPoses
from tests.render.primitives import initial_poses, model_of

VIEW = View(size=32)  # the size of the suite's smallest runs, so that they share the cache of decimated meshes


@pytest.fixture(scope="module")
def layered(drawer):
    return build_scene(drawer.model, view=VIEW, episode_fixed_bodies=("drawer",))


@pytest.fixture(scope="module")
def draw():
    return jax.jit(render_frames)


@pytest.fixture(scope="module")
def batch(drawer):
    """[3 2 G]: three episodes with the base of the drawer at different positions."""
    poses = drawer.states.poses
    under = np.isin(drawer.model.geom_bodyid, [drawer.model.body(b).id for b in _DRAWER_BODIES])
    shift = jnp.array([[0.0, 0, 0], [0.1, -0.05, 0], [-0.1, 0.02, 0]])
    pos = poses.pos + jnp.where(under[:, None], shift[:, None, None], 0)
    return GeomPoses(pos=pos, mat=jnp.repeat(poses.mat, 3, axis=0))


_DRAWER_BODIES = ("drawer", "drawercase_link", "drawer_link")


def test_layered_frames_are_those_drawn_whole(drawer, layered, draw, batch):
    frames = np.asarray(draw(layered, take_poses(layered, batch)))
    whole = build_scene(drawer.model, view=VIEW, episode_fixed_bodies=("drawer",), layered=False)
    assert whole.frame_layer.geom.shape[0] > layered.frame_layer.geom.shape[0]
    expected = np.asarray(draw(whole, take_poses(whole, batch)))
    assert frames.shape == (3, 2, 32, 32, 3) and frames.dtype == np.uint8
    differing = (np.abs(frames.astype(int) - expected).max(-1) > 2).mean()
    assert differing < 2e-4  # depths that agree to 4e-6 (the key's last 4 bits) may be ordered either way
    assert len({frame.tobytes() for frame in frames.reshape(6, -1)}) == 6


def test_clips_are_the_frames_in_space_to_depth(layered, draw, batch):
    poses = take_poses(layered, batch)
    clips = np.asarray(jax.jit(render_clips)(layered, poses))
    assert clips.shape == (3, 1, 16, 16, 24) and clips.dtype == np.uint8
    expected = space_to_depth(np.asarray(draw(layered, poses)))
    np.testing.assert_array_equal(clips, expected)
    blocks = np.asarray(jax.jit(render_clips, static_argnums=2)(layered, poses, 4))
    np.testing.assert_array_equal(blocks, to_blocks(expected))


@pytest.mark.parametrize("size", [2, 8, 26])
def test_blocks_of_tiles_are_blocks_of_the_image(size):
    """A size of 26 cuts the last tiles, as 250 does."""
    tiled = np.arange(3 * 4 * tiles_per_side(size) ** 2 * TILE * TILE).reshape(3, 4, -1, TILE * TILE)
    as_array = cast(jax.Array, tiled)  # NumPy arrays serve as well here
    image = untile(as_array.reshape(12, -1, TILE * TILE), size).reshape(3, 4, size, size)
    as_colours = np.repeat(image[..., None], 3, axis=-1)  # space_to_depth takes three channels
    expected = space_to_depth(as_colours).reshape(3, 2, size // 2, size // 2, 8, 3)[..., 0]
    np.testing.assert_array_equal(untile_blocks(as_array, size), expected)


@pytest.mark.parametrize("size", [2, 8, 26])
def test_blocks_of_4x4_pixels_are_blocks_of_the_image(size):
    """A size of 26 ends in half a block. The colours' highest byte is their alpha, which is left out."""
    shape = (3 * 4, tiles_per_side(size) ** 2, TILE * TILE)
    colour = np.random.default_rng(0).integers(0, 2**32, shape, np.uint32)
    frames = np.asarray(unpack_colour(untile(jnp.asarray(colour), size))).reshape(3, 4, size, size, 3)
    got = blocks_of_tiles(jnp.asarray(colour.reshape(3, 4, *shape[1:])), size)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, to_blocks(space_to_depth(frames)))


def test_clips_of_several_samples_a_pixel_are_refused(layered, batch):
    several = layered.replace(static=dataclasses.replace(layered.static, samples_per_side=2))
    with pytest.raises(ValueError, match="4 samples per pixel"):
        render_clips(several, take_poses(several, batch))


def test_clips_in_blocks_of_another_side_are_refused(layered, batch):
    with pytest.raises(ValueError, match=r"side=3; it must be"):
        render_clips(layered, take_poses(layered, batch), 3)


def test_clips_of_an_odd_number_of_frames_are_refused(layered, batch):
    with pytest.raises(ValueError, match="1 frames of 32x32 pixels"):
        render_clips(layered, jax.tree.map(lambda x: x[:, :1], take_poses(layered, batch)))


@pytest.mark.parametrize("function", [render_frames, render_clips, render_depth])
def test_poses_of_another_shape_or_dtype_are_refused(layered, batch, function):
    scene_poses = take_poses(layered, batch)
    wrong = {
        "all geoms": batch,
        "no axis of episodes": jax.tree.map(lambda x: x[0], scene_poses),
        "no frames": jax.tree.map(lambda x: x[:, :0], scene_poses),
        "whole numbers": jax.tree.map(lambda x: x.astype(jnp.int32), scene_poses),
        "a quaternion for a matrix": scene_poses.replace(mat=scene_poses.mat[..., :2, :2]),
    }
    for poses in wrong.values():
        with pytest.raises(ValueError, match=rf"expected floating-point \[N F {len(layered.pose_geoms)} 3\]"):
            function(layered, poses)


def test_frames_do_not_depend_on_their_batch(layered, draw, batch):
    poses = take_poses(layered, batch)
    together = np.asarray(draw(layered, poses))
    alone = np.asarray(draw(layered, jax.tree.map(lambda x: x[1:2, :1], poses)))
    np.testing.assert_array_equal(alone[0, 0], together[1, 0])


def test_chunk_changes_no_pixel(layered, draw, batch):
    poses = take_poses(layered, batch)
    other = layered.replace(static=dataclasses.replace(layered.static, chunk=1000))
    np.testing.assert_array_equal(draw(other, poses), draw(layered, poses))


def test_episode_fixed_geoms_stay_where_the_first_frame_has_them(drawer, layered, draw, batch):
    scene_poses = take_poses(layered, batch)
    case = layered.pose_geoms.index(_geom_of(drawer.model, "drawercase_link"))
    moved_in_second = scene_poses.replace(pos=scene_poses.pos.at[:, 1, case].add(0.5))
    np.testing.assert_array_equal(draw(layered, moved_in_second), draw(layered, scene_poses))
    from_start = scene_poses.replace(pos=scene_poses.pos.at[:, 0, case].add(0.5))
    assert (np.asarray(draw(layered, from_start)) != np.asarray(draw(layered, scene_poses)))[:, 1].any()


def _geom_of(model, body):
    groups = np.flatnonzero((model.geom_bodyid == model.body(body).id) & (model.geom_group <= 2))
    return int(groups[0])


def test_layers_of_bodies(drawer):
    pose_updates = dict(zip(_names(drawer.model), body_pose_updates(drawer.model, ("drawer",)), strict=True))
    assert [pose_updates[b].name for b in ("tablelink", "drawercase_link", "drawer_link", "right_hand", "mocap")] == [
        "NEVER", "PER_EPISODE", "PER_FRAME", "PER_FRAME", "PER_FRAME",
    ]  # fmt: skip


def _names(model):
    return [model.body(b).name for b in range(model.nbody)]


def test_pose_geoms_are_what_moves_and_is_seen(drawer, layered):
    bodies = {drawer.model.body(drawer.model.geom_bodyid[g]).name for g in layered.pose_geoms}
    assert "tablelink" not in bodies and {"drawercase_link", "drawer_link", "right_hand"} <= bodies
    assert (drawer.model.geom_group[list(layered.pose_geoms)] <= 2).all()
    unnamed = build_scene(drawer.model, view=View(size=16), error_pixels=0)
    assert set(unnamed.pose_geoms) < set(layered.pose_geoms)


def test_unknown_or_jointed_episode_body_is_refused(drawer):
    with pytest.raises(ValueError, match=r"'cupboard'.* are not in the model.*tablelink"):
        build_scene(drawer.model, view=VIEW, episode_fixed_bodies=("cupboard",))
    with pytest.raises(ValueError, match="'drawer_link' has a joint of its own"):
        build_scene(drawer.model, view=VIEW, episode_fixed_bodies=("drawer_link",))


def test_camera_on_a_moving_body_moves_with_it():
    """A camera on a moving body shows what a fixed camera at the same pose shows."""
    world = '<geom type="box" size=".3 .3 .3" pos="0 2 0"/><geom type="sphere" size=".2" pos=".6 1.5 .2"/>'
    carried = mujoco.MjModel.from_xml_string(
        f'<mujoco><statistic extent="4"/><worldbody>{world}<body name="head" pos=".3 -1 .2" euler="10 5 20">'
        '<freejoint/><geom size=".01" pos="0 .2 -.1" euler="30 0 0" group="3"/>'
        '<camera name="eye" xyaxes="1 0 0 0 0 1"/></body></worldbody></mujoco>'
    )
    data = mujoco.MjData(carried)
    mujoco.mj_forward(carried, data)
    axes = data.cam_xmat[0].reshape(3, 3)
    still = mujoco.MjModel.from_xml_string(
        f'<mujoco><statistic extent="4"/><worldbody>{world}<camera name="eye" '
        f'pos="{_text(data.cam_xpos[0])}" xyaxes="{_text(axes[:, 0])} {_text(axes[:, 1])}"/></worldbody></mujoco>'
    )
    view = View(camera="eye", frame_height=480, frame_width=480, crop=480, size=40)
    start = build_scene(carried, view=view)
    elsewhere = mujoco.MjData(carried)
    elsewhere.qpos[:3] = [2, 2, 2]
    built_elsewhere = build_scene(carried, view=view, data=elsewhere)
    fixed = build_scene(still, view=view)
    depth = jax.jit(render_depth)
    expected = np.asarray(depth(fixed, take_poses(fixed, initial_poses(still))))
    assert (expected < 10).sum() > 50
    for scene in (start, built_elsewhere):
        ours = np.asarray(depth(scene, take_poses(scene, initial_poses(carried))))
        differing = (np.abs(ours / expected - 1) > 1e-3).sum()
        assert differing <= 3  # pixels whose centre an outline crosses, in float32


def _text(vector):
    return " ".join(f"{x:.9f}" for x in vector)


def test_light_on_a_moving_body_is_refused():
    with pytest.raises(ValueError, match=r"lamp.*'thing'.*moves"):
        build_scene(model_of('<geom size=".1"/><light name="lamp"/>'), view=View(camera="eye", size=16, crop=480))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_the_same_program_lowers_for_accelerators(layered, batch, platform):
    """The program is only lowered, to check that nothing in it is specific to one backend."""
    exported = jax.export.export(jax.jit(render_frames), platforms=[platform])(layered, take_poses(layered, batch))
    assert exported.out_avals[0].shape == (3, 2, 32, 32, 3)
