"""Triangles of geoms: areas, unit shapes and texture coordinates, by formula and by MuJoCo's drawing rules."""

import mujoco
import numpy as np
import pytest

from rcjax.render.meshes import geom_triangles
from tests.render.primitives import CAMERA, model_of

RADIUS, HALF = 0.3, 0.7
ROUND = {
    "sphere": ("1 1 1", f"{RADIUS}", [RADIUS] * 3, 4 * np.pi * RADIUS**2),
    "cylinder": ("1 1 1", f"{RADIUS} {HALF}", [RADIUS, RADIUS, HALF], 2 * np.pi * RADIUS * (RADIUS + 2 * HALF)),
    "box": ("1 1 1", ".3 .4 .5", [0.3, 0.4, 0.5], 8 * (0.12 + 0.15 + 0.2)),
    "ellipsoid": ("1 1 1", ".3 .3 .3", [0.3] * 3, 4 * np.pi * 0.09),
    "capsule": ("1 1 1", f"{RADIUS} {HALF}", None, 4 * np.pi * RADIUS**2 + 4 * np.pi * RADIUS * HALF),
}


def _triangles(model, geom=0, **settings):
    settings = {"segments": 64, "max_error": 0.0, "plane_half_side": 50.0, **settings}
    return geom_triangles(model, geom, **settings)


def _area(corners):
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1).sum() / 2


@pytest.mark.parametrize("kind", ROUND)
def test_primitive_has_its_area_faces_out_and_scales_its_unit_shape(kind):
    _, size, scale, area = ROUND[kind]
    shape = _triangles(model_of(f'<geom type="{kind}" size="{size}"/>'))
    assert abs(_area(shape.corners) / area - 1) < 0.005  # 64 facets: pi^2 / 6 / 32^2 below a circle's; 0.0024 measured
    face = np.cross(shape.corners[:, 1] - shape.corners[:, 0], shape.corners[:, 2] - shape.corners[:, 0])
    assert ((face * shape.corners.mean(1)).sum(-1) > 0).all()  # convex, about the origin
    assert ((face[:, None] * shape.normals).sum(-1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=-1), 1, atol=1e-12)  # float64
    assert shape.uv.shape == (len(face), 3, 2) and not shape.uv.any()
    if scale is not None:
        np.testing.assert_allclose(shape.unit * scale, shape.corners, atol=1e-12)  # float64


def test_capsule_is_three_unit_shapes():
    """Body scaled by (radius, radius, half length), caps by the radius about z = 1 and -1, as MuJoCo stacks them."""
    shape = _triangles(model_of(f'<geom type="capsule" size="{RADIUS} {HALF}"/>'))
    z = shape.corners[..., 2]
    body = (np.abs(z) <= HALF + 1e-9).all(1)
    np.testing.assert_allclose(np.abs(shape.unit[body][..., 2]), 1)
    cap_z = np.sign(z) * (1 + (np.abs(z) - HALF) / RADIUS)
    np.testing.assert_allclose(shape.unit[~body][..., 2], cap_z[~body], atol=1e-12)  # float64
    np.testing.assert_allclose(shape.unit[..., :2] * RADIUS, shape.corners[..., :2], atol=1e-12)


def test_infinite_side_of_a_plane_is_drawn_in_metres():
    model = model_of('<geom size=".1"/>', world='<geom type="plane" size="2 0 1"/>')
    shape = _triangles(model, plane_half_side=50.0)
    np.testing.assert_array_equal(np.abs(shape.corners[..., :2]), np.broadcast_to([2.0, 50.0], (2, 3, 2)))
    np.testing.assert_array_equal(np.abs(shape.unit[..., :2]), np.broadcast_to([1.0, 50.0], (2, 3, 2)))


def test_mesh_keeps_its_texture_coordinates():
    """Texture coordinates that are the vertices' x and y as they were given, before MuJoCo moves a mesh to its axes."""
    with_uv, without = (_tetrahedron(uv) for uv in ('texcoord="0 0 .8 0 0 .6 .1 .2"', ""))
    shape = _triangles(with_uv)
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, with_uv.mesh_quat[0])
    given = shape.corners @ turn.reshape(3, 3).T + with_uv.mesh_pos[0]
    np.testing.assert_allclose(shape.uv, given[..., :2], atol=1e-6)  # stored in float32
    np.testing.assert_array_equal(shape.unit, shape.corners)
    assert not _triangles(without).uv.any()


def test_sharp_corners_of_a_mesh_are_drawn_with_the_faces_normals():
    """MuJoCo's rule for meshes without texture coordinates, whatever normals the model has."""
    model = _tetrahedron("")
    model.mesh_normal[:] = [0, 0, 1]
    shape = _triangles(model)
    face = np.cross(shape.corners[:, 1] - shape.corners[:, 0], shape.corners[:, 2] - shape.corners[:, 0])
    face /= np.linalg.norm(face, axis=-1, keepdims=True)
    expected = np.where(face[:, 2:] >= 0.8, [0, 0, 1], face)
    assert (face[:, 2] < 0.8).any()
    np.testing.assert_allclose(shape.normals, np.repeat(expected[:, None], 3, axis=1), atol=1e-6)


def _tetrahedron(texcoord):
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><asset><mesh name="m" vertex="0 0 0 .8 0 0 0 .6 0 .1 .2 .9" {texcoord} '
        f'face="0 2 1 0 1 3 1 2 3 2 0 3"/></asset><worldbody>{CAMERA}'
        '<body><geom type="mesh" mesh="m"/></body></worldbody></mujoco>'
    )
