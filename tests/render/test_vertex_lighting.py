"""The light on a backdrop, computed at the corners of triangles. Oracle: the lighting equation, by hand."""

import jax
import mujoco
import numpy as np
import pytest

from rcjax.render import View, build_scene, render_frames, take_poses
from rcjax.types import GeomPoses

SIZE, HEIGHT = 64, 1.0  # pixels; metres of the lamp above the slab

SCENE = """<mujoco>
<visual><quality numquads="{quads}"/><headlight active="0"/></visual>
<worldbody>
  <light pos="0 0 {lamp}" dir="0 0 -1" cutoff="89" exponent="0" diffuse=".9 .9 .9" ambient="0 0 0" specular="0 0 0"/>
  <camera name="above" pos="0 0 4" fovy="28"/>
  <geom type="box" size="1 1 .1" rgba="1 .5 .25 1"/>
</worldbody></mujoco>"""


def drawn(quads, **options):
    """Returns the picture of a slab from above, whose side is about the picture's, in [0, 1], and metres per pixel."""
    model = mujoco.MjModel.from_xml_string(SCENE.format(quads=quads, lamp=0.1 + HEIGHT))
    scene = build_scene(model, view=View(camera="above", crop=480, size=SIZE), **options)
    none = GeomPoses.of_leaves(
        pos=np.zeros((1, 1, 1, 3), np.float32), mat=np.eye(3, dtype=np.float32)[None, None, None]
    )
    picture = np.asarray(jax.jit(render_frames)(scene, take_poses(scene, none)))[0, 0]
    return picture / 255, 2 * 3.9 * np.tan(np.radians(14)) / SIZE


def light_at(distance):
    """What the lamp adds to a white surface, at this distance in metres from the point below it."""
    return 0.9 * HEIGHT / np.hypot(HEIGHT, distance)


def test_a_face_of_one_quad_has_the_light_of_its_corners():
    picture, _ = drawn(1, backdrop_lighting="vertex")
    inside = picture[4:-4, 4:-4]
    expected = light_at(np.sqrt(2)) * np.array([1, 0.5, 0.25])
    np.testing.assert_allclose(inside, np.broadcast_to(expected, inside.shape), atol=1 / 255)


def test_light_is_interpolated_between_the_corners_of_quads():
    """Along an edge from the middle of the face to the middle of its side, which both triangles share."""
    picture, metres = drawn(2, backdrop_lighting="vertex")
    middle = picture[SIZE // 2 - 1 : SIZE // 2 + 1, 4:-4].mean(0)[:, 0]
    x = np.abs((np.arange(4, SIZE - 4) + 0.5 - SIZE / 2) * metres)
    expected = light_at(0) + x * (light_at(1) - light_at(0))
    np.testing.assert_allclose(middle, expected, atol=0.012)  # half a pixel beside the edge, and rounding


@pytest.mark.parametrize("lookup", ["index", "varyings"])
def test_by_default_every_pixel_is_lit(lookup):
    picture, metres = drawn(1, lookup=lookup)
    middle = picture[SIZE // 2 - 1 : SIZE // 2 + 1, 4:-4].mean(0)[:, 0]
    x = np.abs((np.arange(4, SIZE - 4) + 0.5 - SIZE / 2) * metres)
    np.testing.assert_allclose(middle, light_at(x), atol=0.012)


def test_what_never_moves_is_lit_at_corners_for_a_tpu_as_well():
    """Attributes of moving geoms are interpolated in another way there; the backdrop is drawn when it is built."""
    by_index, _ = drawn(2, backdrop_lighting="vertex")
    by_varyings, _ = drawn(2, backdrop_lighting="vertex", lookup="varyings")
    np.testing.assert_array_equal(by_varyings, by_index)
