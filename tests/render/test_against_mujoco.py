"""Compares the drawer scene with recorded images of MuJoCo's own renderer. Run with -s to see the numbers."""

import jax
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_depth, render_frames, take_poses
from tests.render.primitives import cast_depth


def psnr(a, b):
    """Peak signal-to-noise ratio of 8-bit images, in dB."""
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_depth_is_mujocos(full_detail, recorded):
    ours = full_detail.depth[:, ::2, ::2]
    near = np.abs(ours / recorded.depth - 1) < 1e-3
    print("depth within 0.1 %:", near.mean())
    assert near.mean() > 0.999  # 0.9999 measured; pixels on outlines differ


def test_colour_of_flat_materials_is_mujocos(full_detail, recorded):
    """With textures at their mean and without shadows, reflections or multisampling, both should look the same."""
    value = psnr(full_detail.flat, recorded.flat)
    print("PSNR, flat:", value)
    assert value > 45  # 47.6 measured; outline pixels differ, and light is computed per pixel instead of per vertex
    inside = np.median(np.abs(full_detail.flat.astype(int) - recorded.flat))
    assert inside <= 1  # one level of rounding


def test_textured_image_is_mujocos(full_detail, recorded):
    """Without shadows, and with one sample per pixel against MuJoCo's four."""
    value = psnr(full_detail.frames, recorded.plain)
    print("PSNR, textured:", value)
    assert value > 32  # 33.9 measured; MuJoCo's own image with one sample per pixel has 34.7


@pytest.mark.slow
def test_nothing_shows_through_the_arms_gaps_without_culling(drawer):
    """MuJoCo's ray caster hits triangles from either side, so its rays end in the arm where the arm has gaps."""
    size = 80
    scene = build_scene(drawer.model, view=View(size=size, upright=False), error_pixels=0, cull=False)
    poses = jax.tree.map(lambda x: x[:, :1], drawer.states.poses)
    depth = np.asarray(jax.jit(render_depth)(scene, take_poses(scene, poses)))[0, 0]
    reached = cast_depth(drawer.model, scene.camera, size, drawer.states.qpos[0])
    assert np.isfinite(reached).mean() > 0.7
    assert not (depth > 1.001 * reached).any()  # 11 pixels of 6400 with culling


@pytest.mark.slow  # decimates large meshes
@pytest.mark.parametrize("shadows, least", [(False, 37), (True, 36)])
def test_complete_image_is_mujocos(drawer, recorded, shadows, least):
    """With textures, antialiasing and shadows, as MuJoCo draws by default, on decimated meshes."""
    scene = build_scene(
        drawer.model, view=View(upright=False), episode_fixed_bodies=("drawer",), samples=4, shadows=shadows
    )
    frames = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, drawer.states.poses)))[0]
    value = psnr(frames, recorded.colour if shadows else recorded.plain)
    print(f"PSNR, complete, shadows {shadows}:", value)
    assert value > least  # 38.6 measured without shadows, 37.7 with them


@pytest.mark.slow  # decimates large meshes
@pytest.mark.parametrize("size, least_iou, least_psnr", [(64, 0.92, 28), (250, 0.96, 31.5)])
def test_decimated_image_is_near_mujocos(drawer, recorded, size, least_iou, least_psnr):
    """Compares the red arm's shape, and colours, with MuJoCo's image averaged down to the drawn size."""
    scene = build_scene(drawer.model, view=View(size=size, upright=False), episode_fixed_bodies=("drawer",))
    frames = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, drawer.states.poses)))[0]
    reference = np.stack([_resize(image, size) for image in recorded.plain])
    ours, theirs = _is_red(frames), _is_red(reference)
    iou = (ours & theirs).sum() / (ours | theirs).sum()
    print(f"{size}: IoU of the arm {iou}, PSNR {psnr(frames, reference)}")
    assert iou > least_iou  # 0.945 and 0.976 measured; an outline off by half a pixel costs 0.1 at 64 pixels
    assert psnr(frames, reference) > least_psnr  # 29.7 and 33.2 measured


@pytest.mark.parametrize("mirror, upright", [(False, True), (True, True), (True, False)])
def test_mirror_and_upright_flip_the_image(drawer, full_detail, mirror, upright):
    view = View(size=250, mirror=mirror, upright=upright)
    scene = build_scene(drawer.model, view=view, episode_fixed_bodies=("drawer",), error_pixels=0)
    ours = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, drawer.states.poses)))[0]
    expected = full_detail.frames
    expected = expected[:, ::-1, ::-1] if upright else expected
    expected = expected[:, :, ::-1] if mirror else expected
    differing = (np.abs(ours.astype(int) - expected).max(-1) > 8).mean()
    assert differing < 2e-3  # pixels whose centre an edge crosses, in float32


def _is_red(image):
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return (red > 2 * green) & (red > 2 * blue) & (red > 30)


def _resize(image, size):
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
