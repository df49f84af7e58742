"""Compares MJX-Warp's ray-traced frames with the rasteriser's, at the same poses and cameras."""

import importlib.util

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rcjax.render import View, build_scene, build_warp_scene, render_depth, render_frames, take_poses
from rcjax.types import GeomPoses
from tests.generators.render import flatten_textures
from tests.render.drawer import drawer_model
from tests.render.primitives import initial_poses

needs_warp = pytest.mark.skipif(importlib.util.find_spec("warp") is None, reason="needs the extra `warp`")

FAR = 100.0  # metres; an extent of 2 times a zfar of 50
WORLD = """
<mujoco><statistic extent="2"/>
  <asset><mesh name="wedge" vertex="0 0 0  0.5 0 0  0.5 0.4 0  0 0.4 0  0 0 0.4  0.5 0 0.4"/></asset>
  <worldbody>
    <light directional="true" pos="0 0 3" dir="0.3 0.5 -1" diffuse="0.4 0.4 0.4" castshadow="%(castshadow)s"/>
    <camera name="eye" pos="0 -3 1" xyaxes="1 0 0 0 0.3 1" fovy="40"/>
    <camera name="rolled" pos="0 -3 1" xyaxes="-1 0 0 0 -0.3 -1" fovy="40"/>
    <geom type="plane" size="1.5 1 0.1" rgba="0.6 0.6 0.6 1"/>
    <body><freejoint/>
      <geom type="box" size="0.15 0.1 0.2" pos="-0.6 -0.2 0.25" euler="0 0 30" rgba="0.8 0.2 0.2 1"/>
      <geom type="sphere" size="0.2" pos="-0.1 -0.3 0.3" rgba="0.2 0.8 0.2 1"/>
      <geom type="capsule" size="0.1 0.15" pos="0.3 -0.3 0.3" euler="40 0 0" rgba="0.2 0.2 0.8 1"/>
      <geom type="cylinder" size="0.12 0.2" pos="0.7 -0.2 0.3" euler="20 10 0" rgba="0.8 0.8 0.2 1"/>
      <geom type="ellipsoid" size="0.1 0.2 0.3" pos="-0.4 0.5 0.5" rgba="0.2 0.8 0.8 1"/>
      <geom type="mesh" mesh="wedge" pos="0.4 0.4 0.4" rgba="0.8 0.2 0.8 1"/>
    </body>
  </worldbody>
</mujoco>
"""


def small_model(castshadow="false"):
    return mujoco.MjModel.from_xml_string(WORLD % {"castshadow": castshadow})


def two_poses(model):
    """Poses [1 2 G]: the initial state, then the body moved and rotated."""
    first = initial_poses(model)
    data = mujoco.MjData(model)
    data.qpos[:] = [0.1, 0.2, 0.1, 0.96, 0.0, 0.0, 0.28]
    mujoco.mj_kinematics(model, data)
    second = GeomPoses.of_leaves(pos=data.geom_xpos[None, None], mat=data.geom_xmat.reshape(1, 1, -1, 3, 3))
    return jax.tree.map(lambda a, b: jnp.concatenate([jnp.asarray(a), jnp.asarray(b)], 1, jnp.float32), first, second)


def draw_with_both(model, view, poses, fixed=()):
    """Frames and depths of our renderer, then of Warp's."""
    frames = poses.pos.shape[:2]
    scenes = (
        build_scene(model, view=view, episode_fixed_bodies=fixed),
        build_warp_scene(model, view=view, episode_fixed_bodies=fixed, max_frames=frames[0] * frames[1], depth=True),
    )
    assert scenes[0].pose_geoms == scenes[1].pose_geoms
    return [
        (np.asarray(jax.jit(render_frames)(scene, given)), np.asarray(jax.jit(render_depth)(scene, given)))
        for scene in scenes
        for given in [take_poses(scene, poses)]
    ]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@needs_warp
@pytest.mark.parametrize(
    "view",
    [
        View(camera="eye", size=64, crop=480),
        View(camera="eye", size=64, crop=301, mirror=True),  # off the camera's axis by half a pixel
        View(camera="rolled", size=64, crop=480),
        View(camera="free", size=64, crop=480),
    ],
    ids=["plain", "mirrored", "upright", "free"],
)
def test_frames_of_primitives_agree(view):
    (ours, our_depth), (theirs, their_depth) = draw_with_both(small_model(), view, two_poses(small_model()))
    assert ours.shape == theirs.shape == (1, 2, 64, 64, 3)
    shape = iou(our_depth < FAR / 2, their_depth < FAR / 2)
    same_depth = np.abs(our_depth / their_depth - 1) < 2e-3
    level = np.abs(ours.astype(int) - theirs)
    print(f"{view.camera}: silhouettes {shape:.4f}, depth {same_depth.mean():.4f}, ", end="")
    print(f"colour median {np.median(level)}, 95 % {np.quantile(level, 0.95)}")
    assert shape > 0.99  # 0.9970 to 0.9996 measured; our circles have facets, within 1/8 pixel
    assert same_depth.mean() > 0.96  # 0.974 to 0.979 measured; outlines, and facets that cut inside round shapes
    assert np.median(level) <= 1  # Warp rounds down
    assert np.quantile(level, 0.95) <= 4  # 1 measured; highlights on facets


@needs_warp
def test_frames_of_the_drawer_agree(drawer):
    """Textures are flat and lights are dimmed, as MJX-Warp is known to differ there.

    It has no mipmaps, so its textures are noise at this size, and it clips light after multiplying it by the texture,
    so bright surfaces are brighter.
    """
    model = drawer_model()
    flatten_textures(model)
    model.light_diffuse *= 0.3
    (ours, our_depth), (theirs, their_depth) = draw_with_both(model, View(size=64), drawer.states.poses, ("drawer",))
    near = (np.abs(our_depth / their_depth - 1) < 1e-2).mean()
    psnr = 10 * np.log10(255**2 / np.mean((ours.astype(float) - theirs) ** 2))
    print("drawer: depth within 1 %", near, "PSNR", psnr)
    assert near > 0.98  # 0.9928 measured; outlines, and our meshes are decimated
    assert psnr > 31  # 34.7 measured; outlines, and our meshes are decimated


@needs_warp
def test_micro_batches_inside_one_program():
    """Bounding volume hierarchies are kept outside JAX: each micro-batch must be drawn with its own."""
    model = small_model()
    scene = build_warp_scene(model, view=View(camera="eye", size=32, crop=480), max_frames=1)
    poses = jax.tree.map(lambda x: x[0, :, None, None], take_poses(scene, two_poses(model)))
    together = jax.jit(lambda scene, poses: jax.lax.map(lambda p: render_frames(scene, p), poses))(scene, poses)
    one_by_one = [jax.jit(render_frames)(scene, jax.tree.map(lambda x, i=i: x[i], poses)) for i in range(2)]
    assert (np.asarray(one_by_one[0]) != np.asarray(one_by_one[1])).mean() > 0.05
    np.testing.assert_array_equal(together, jnp.stack(one_by_one))


@needs_warp
def test_four_samples_are_the_mean_of_a_finer_image():
    model = small_model()
    poses = two_poses(model)

    def draw(size, samples):
        view = View(camera="eye", size=size, crop=480)
        scene = build_warp_scene(model, view=view, max_frames=2, samples=samples)
        return np.asarray(jax.jit(render_frames)(scene, take_poses(scene, poses)))[0].astype(float)

    fine = draw(64, 1).reshape(2, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.abs(draw(32, 4) - fine).max() <= 1  # one is the mean of floors, the other the floor of a mean


@needs_warp
def test_shadows_darken_the_floor_only_where_they_are_asked_for():
    model = small_model(castshadow="true")

    def draw(shadows):
        scene = build_warp_scene(model, view=View(camera="eye", size=48, crop=480), max_frames=2, shadows=shadows)
        return np.asarray(jax.jit(render_frames)(scene, take_poses(scene, two_poses(model)))).astype(int)

    darker = (draw(False) - draw(True)).max(-1)
    assert darker.min() == 0
    assert (darker > 20).mean() > 0.02


@needs_warp
def test_refusals():
    model = small_model()
    view = View(camera="eye", size=16, crop=480)
    scene = build_warp_scene(model, view=view, max_frames=1)
    with pytest.raises(ValueError, match=r"1 episodes of 2 frames .* max_frames=1; build it with max_frames=2, or"):
        render_frames(scene, take_poses(scene, two_poses(model)))
    with pytest.raises(ValueError, match="depth=True"):
        render_depth(scene, take_poses(scene, two_poses(model)))
    with pytest.raises(ValueError, match="at least 1"):
        build_warp_scene(model, view=view, max_frames=0)
    with pytest.raises(ValueError, match="square number"):
        build_warp_scene(model, view=view, max_frames=1, samples=2)
    with pytest.raises(ValueError, match="graph_mode='cuda' is unknown"):
        build_warp_scene(model, view=view, max_frames=1, graph_mode="cuda")
    carried = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body><freejoint/><geom size="1"/><camera name="eye"/></body></worldbody></mujoco>'
    )
    with pytest.raises(ValueError, match="camera 'eye' is on a body that moves"):
        build_warp_scene(carried, view=view, max_frames=1)


def test_missing_warp_says_what_to_install(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "warp" else find_spec(name))
    with pytest.raises(ValueError, match=r"pip install 'rcjax\[warp\]'"):
        build_warp_scene(small_model(), view=View(camera="eye"), max_frames=1)


@needs_warp
def test_fewer_frames_than_the_scene_was_made_for():
    model = small_model()
    view = View(camera="eye", size=16, crop=480)
    exact, larger = (build_warp_scene(model, view=view, max_frames=count) for count in (2, 5))
    poses = take_poses(exact, two_poses(model))
    expected = np.asarray(jax.jit(render_frames)(exact, poses))
    assert expected.shape == (1, 2, 16, 16, 3)
    np.testing.assert_array_equal(jax.jit(render_frames)(larger, poses), expected)
