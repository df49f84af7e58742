"""Reference pictures against a plain `mujoco.Renderer`, and one row of the comparison; MUJOCO_GL=osmesa or egl."""

import os

import mujoco
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage")

from benchmarks import fidelity
from benchmarks.opengl import OpenGL
from rcjax.render import View
from rcjax.types import GeomPoses

SCENE = """<mujoco>
<statistic extent="4" center="0 0 0"/>
<asset><material name="matt" rgba=".4 .6 .8 1" specular="0"/></asset>
<worldbody>
  <light pos="1 -2 3" dir="-1 2 -3" directional="true"/>
  <camera name="eye" pos="0 -3 0.4" xyaxes="1 0 0 0 0.15 1" fovy="40"/>
  <camera name="hung" pos="0 -3 0.4" xyaxes="-1 0 0 0 -0.15 -1" fovy="40"/>
  <geom type="plane" size="3 3 1" pos="0 0 -.5" material="matt"/>
  <site name="hidden" size=".2" pos=".6 0 0" rgba="1 0 0 1"/>
  <body name="thing"><freejoint/>
    <geom type="box" size=".3 .2 .4" rgba=".8 .3 .2 1"/>
    <geom type="sphere" size=".2" pos=".3 -.2 .5" rgba=".2 .8 .3 1"/>
    <camera name="carried" pos="0 -3 0"/>
  </body>
</worldbody></mujoco>"""
FULL = {"frame_height": 60, "frame_width": 80, "crop": 40}


@pytest.fixture(scope="module", autouse=True)
def opengl():
    """Skips where there is no OpenGL context."""
    if os.environ.get("MUJOCO_GL") not in ("osmesa", "egl"):
        pytest.skip("MUJOCO_GL is neither osmesa nor egl")
    try:
        with mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 8, 8):
            pass
    except Exception as error:
        pytest.skip(f"no OpenGL context: {error}")


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(SCENE)


@pytest.fixture(scope="module")
def moved(model):
    """A state away from the initial one."""
    data = mujoco.MjData(model)
    data.qpos[:] = [0.2, 0.1, 0.1, 0.9, 0.1, -0.2, 0.4]
    mujoco.mj_forward(model, data)
    return data


@pytest.fixture(scope="module")
def poses(moved):
    return GeomPoses(pos=moved.geom_xpos[None].copy(), mat=moved.geom_xmat.reshape(1, -1, 3, 3).copy())


def plain_renderer(model, data, camera, shadows):
    option = mujoco.MjvOption()
    option.sitegroup[:] = 0
    with mujoco.Renderer(model, 60, 80) as renderer:
        renderer.update_scene(data, camera=camera, scene_option=option)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        return renderer.render()


@pytest.mark.parametrize("camera, shadows", [("eye", True), ("eye", False), ("hung", True), ("free", True)])
def test_poses_draw_what_their_state_does(model, moved, poses, camera, shadows):
    full = plain_renderer(model, moved, -1 if camera == "free" else camera, shadows)
    expected = full[10:50, 20:60]
    expected = expected[::-1, ::-1] if camera == "hung" else expected
    with OpenGL(model, View(camera=camera, size=40, **FULL), shadows=shadows) as renderer:
        picture = renderer.draw(poses)[0]
    np.testing.assert_array_equal(picture, expected)  # the same program on the same numbers


def test_mirror_swaps_left_and_right(model, poses):
    with OpenGL(model, View(camera="eye", size=40, **FULL)) as renderer:
        plain = renderer.draw(poses)
    with OpenGL(model, View(camera="eye", size=40, mirror=True, **FULL)) as renderer:
        np.testing.assert_array_equal(renderer.draw(poses), plain[:, :, ::-1])


@pytest.mark.parametrize("camera", ["eye", "free"])
def test_other_sizes_show_the_same_square(model, poses, camera):
    with OpenGL(model, View(camera=camera, size=40, **FULL), samples=0) as renderer:
        picture = renderer.draw(poses)[0]
    with OpenGL(model, View(camera=camera, size=120, **FULL), samples=0) as renderer:
        fine = renderer.draw(poses)[0]
    # the middle one of each 3x3 pixels lies where the coarse pixel does: all within 3 measured, edges may round apart
    assert (np.abs(fine[1::3, 1::3].astype(int) - picture).max(-1) > 3).mean() < 0.01
    assert picture.std() > 10


def test_samples_soften_edges(model, poses):
    with OpenGL(model, View(camera="eye", size=40, **FULL), samples=1) as renderer:
        assert renderer.samples == 0
        hard = renderer.draw(poses)
    with OpenGL(model, View(camera="eye", size=40, **FULL), samples=4) as renderer:
        assert renderer.samples == 4
        assert (renderer.draw(poses) != hard).any(-1).mean() > 0.02  # outlines


def test_carried_camera_is_refused(model):
    with pytest.raises(ValueError, match="'carried' is on a body that moves"):
        OpenGL(model, View(camera="carried", size=40, **FULL))


def test_row_of_a_simple_scene(model, poses, tmp_path):
    options = fidelity.Options(size=40, samples=1, out_dir=tmp_path)
    subject = fidelity.Subject("simple", model, View(camera="eye", size=40, **FULL), poses)
    row = fidelity.compare_subject(subject, subject.scene(options, False), options, False)
    assert row["psnr"] == row["psnr_worst"] > 45  # 57.1 measured: roundings, pixels that an outline just meets
    assert row["edge_px_p95"] <= 1
    assert np.asarray(Image.open(tmp_path / row["picture"]).convert("RGB")).shape == (40, 120, 3)
    assert "cosine" not in row


def test_report_without_tasks_is_a_table(tmp_path):
    result = fidelity.report(fidelity.Options(tasks=(), kitchen=False, out_dir=tmp_path))
    assert result["rows"] == []
    assert "| scene |" in fidelity.table(result)


@pytest.mark.slow
def test_the_kitchens_start_is_lit_as_opengl_lights_it(tmp_path):
    """Without shadows, where the lamp's highlight on the cook-top is: 34.3 dB measured; 27.7 if each pixel is lit."""
    pytest.importorskip("gymnasium_robotics")
    options = fidelity.Options(size=250, samples=4, embed=False, out_dir=tmp_path)
    subject = fidelity.kitchen_subject(options.size)
    assert subject is not None
    row = fidelity.compare_subject(subject, subject.scene(options, False), options, False)
    assert row["psnr"] > 33 and row["ssim"] > 0.95
