"""Tests of cameras and views against MuJoCo's own cameras."""

import mujoco
import numpy as np
import pytest

from rcjax.render import View, camera_names
from rcjax.render.camera import make_camera
from tests.render.primitives import model_of


@pytest.fixture(scope="module")
def placed(drawer):
    data = mujoco.MjData(drawer.model)
    mujoco.mj_forward(drawer.model, data)
    return drawer.model, data


def _ray_grid(camera, size):
    index = np.arange(size)
    return camera.x0 + camera.dx * index, camera.y0 + camera.dy * index


def test_crop_is_the_centre_of_the_full_image(placed):
    model, data = placed
    whole = make_camera(model, data, View(crop=480, size=480, upright=False))
    square = make_camera(model, data, View(crop=250, size=250, upright=False))
    for full, part in zip(_ray_grid(whole, 480), _ray_grid(square, 250), strict=True):
        np.testing.assert_allclose(part, full[115:365], atol=1e-6)  # float32 rays of order 1


def test_another_size_spans_the_same_square(placed):
    model, data = placed
    for size in (64, 125):
        large, small = (make_camera(model, data, View(size=s)) for s in (250, size))
        for first, step in (("x0", "dx"), ("y0", "dy")):
            edges = [
                (getattr(c, first) - getattr(c, step) / 2, getattr(c, first) + (n - 0.5) * getattr(c, step))
                for c, n in ((large, 250), (small, size))
            ]
            np.testing.assert_allclose(edges[0], edges[1], atol=1e-6)  # float32


def test_projection_is_mujocos(placed):
    """The oracle is a pinhole projection by fovy, with MuJoCo's camera pose, of points in the image."""
    model, data = placed
    camera = make_camera(model, data, View(crop=480, size=480, upright=False))
    pos, mat = data.cam("corner2").xpos, data.cam("corner2").xmat.reshape(3, 3)
    points = np.array([[0.0, 0.6, 0.0], [0.1, 0.8, 0.2], [0.0, 0.9, 0.1]])
    local = (points - pos) @ mat
    focal = 240 / np.tan(np.radians(model.cam("corner2").fovy[0]) / 2)
    column = 320 + focal * local[:, 0] / -local[:, 2] - 80 - 0.5
    row = 240 - focal * local[:, 1] / -local[:, 2] - 0.5
    np.testing.assert_allclose((local[:, 0] / -local[:, 2] - camera.x0) / camera.dx, column, atol=1e-3)
    np.testing.assert_allclose((local[:, 1] / -local[:, 2] - camera.y0) / camera.dy, row, atol=1e-3)


@pytest.mark.parametrize("name, turned", [("corner2", True), ("topview", False), ("corner", True)])
def test_upright_turns_only_cameras_that_look_upside_down(placed, name, turned):
    model, data = placed
    rolled, upright = (_ray_grid(make_camera(model, data, View(camera=name, upright=u)), 250) for u in (False, True))
    for a, b in zip(rolled, upright, strict=True):
        np.testing.assert_allclose(b, a[::-1] if turned else a, atol=1e-6)  # float32


def test_mirror_swaps_columns_only(placed):
    model, data = placed
    plain, mirrored = (_ray_grid(make_camera(model, data, View(mirror=m)), 250) for m in (False, True))
    np.testing.assert_allclose(mirrored[0], plain[0][::-1], atol=1e-6)
    np.testing.assert_allclose(mirrored[1], plain[1], atol=1e-6)


def test_free_camera_is_mujocos():
    """The oracle is the camera that mjv_updateScene computes."""
    model = model_of('<geom size=".2"/>')
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    camera, scene = mujoco.MjvCamera(), mujoco.MjvScene(model, 10)
    mujoco.mjv_defaultFreeCamera(model, camera)
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, int(mujoco.mjtCatBit.mjCAT_ALL), scene)
    both = scene.camera
    ours = make_camera(model, data, View(camera="free"))
    np.testing.assert_allclose(ours.pos, (both[0].pos + both[1].pos) / 2, atol=1e-5)
    np.testing.assert_allclose(-ours.mat[:, 2], both[0].forward, atol=1e-5)
    np.testing.assert_allclose(ours.mat[:, 1], both[0].up, atol=1e-5)


def test_unknown_camera_lists_the_known(placed):
    model, data = placed
    with pytest.raises(ValueError, match=r"corner9.*topview, corner, corner2.*free"):
        make_camera(model, data, View(camera="corner9"))
    assert camera_names(model)[-1] == "free"


def test_view_refuses_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match="crop=500 does not fit"):
        View(crop=500)
    with pytest.raises(ValueError, match="below 1"):
        View(size=0)
