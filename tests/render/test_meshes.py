"""Tests the triangles of geoms by formula and by MuJoCo's rules: areas, unit shapes, texture coordinates, normals."""

import mujoco
import numpy as np
import pytest

from rcjax.render import decimate, primitives
from rcjax.render.meshes import Triangles, full_mesh, geom_triangles, mesh_triangles, shade_like
from rcjax.render.surface import areas, unit_normals
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
    assert abs(_area(shape.corners) / area - 1) < 0.005  # 64 facets lose pi^2 / 6 / 32^2 of a circle; 0.0024 measured
    face = np.cross(shape.corners[:, 1] - shape.corners[:, 0], shape.corners[:, 2] - shape.corners[:, 0])
    assert ((face * shape.corners.mean(1)).sum(-1) > 0).all()  # convex, about the origin
    assert ((face[:, None] * shape.normals).sum(-1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=-1), 1, atol=1e-12)  # float64
    assert shape.uv.shape == (len(face), 3, 2) and not shape.uv.any()
    if scale is not None:
        np.testing.assert_allclose(shape.unit * scale, shape.corners, atol=1e-12)  # float64


def test_capsule_is_three_unit_shapes():
    """The body is scaled by (radius, radius, half length), the caps by the radius about z = 1 and -1, as in MuJoCo."""
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
    """Texture coordinates are the vertices' x and y as given, before MuJoCo moves the mesh to its principal axes."""
    with_uv, without = (_tetrahedron(uv) for uv in ('texcoord="0 0 .8 0 0 .6 .1 .2"', ""))
    shape = _triangles(with_uv)
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, with_uv.mesh_quat[0])
    given = shape.corners @ turn.reshape(3, 3).T + with_uv.mesh_pos[0]
    np.testing.assert_allclose(shape.uv, given[..., :2], atol=1e-6)  # stored in float32
    np.testing.assert_array_equal(shape.unit, shape.corners)
    assert not _triangles(without).uv.any()


def test_sharp_corners_of_a_mesh_are_drawn_with_the_faces_normals():
    """This is MuJoCo's rule for meshes without texture coordinates, whatever normals the model has."""
    model = _tetrahedron("")
    model.mesh_normal[:] = [0, 0, 1]
    shape = _triangles(model)
    face = np.cross(shape.corners[:, 1] - shape.corners[:, 0], shape.corners[:, 2] - shape.corners[:, 0])
    face /= np.linalg.norm(face, axis=-1, keepdims=True)
    expected = np.where(face[:, 2:] >= 0.8, [0, 0, 1], face)
    assert (face[:, 2] < 0.8).any()
    np.testing.assert_allclose(shape.normals, np.repeat(expected[:, None], 3, axis=1), atol=1e-6)


def test_decimated_sphere_is_shaded_as_a_sphere():
    model = _mesh_model(*_sphere_of(40))
    fewer = mesh_triangles(model, 0, 0.02)
    assert len(fewer.corners) < 300 < 1500 < model.nmeshface
    radial = fewer.corners / np.linalg.norm(fewer.corners, axis=-1, keepdims=True)
    angle = np.degrees(np.arccos(np.clip((fewer.normals * radial).sum(axis=-1), -1, 1)))
    facets = np.degrees(np.arccos((unit_normals(fewer.corners)[:, None] * radial).sum(axis=-1)))
    print("degrees off the radius, shaded and facets:", angle.max(), facets.max())
    assert (
        angle.max() < 5 and facets.max() > 10
    )  # 3.5 and 15.4 measured; the latter is the error of the triangles' own normals
    np.testing.assert_array_equal(fewer.unit, fewer.corners)


def test_a_mesh_is_shaded_like_itself():
    vertices, faces = _sphere_of(12)
    shape = Triangles(vertices[faces], vertices[faces], vertices[faces], np.zeros((len(faces), 3, 2)))
    ours = shade_like(shape.corners, faces, shape, 0.1)
    angle = np.degrees(np.arccos(np.clip((ours * shape.normals).sum(axis=-1), -1, 1)))
    facets = np.degrees(np.arccos((unit_normals(shape.corners)[:, None] * shape.normals).sum(axis=-1)))
    print("degrees off, shaded and facets:", angle.max(), facets.max())
    assert angle.max() < 3 < facets.max() / 3  # 1.1 and 20.8 measured; the ridge term has a small effect


def test_rounded_edges_do_not_shade_the_flat_sides():
    """The sides of a box whose edges are rounded within the bound are shaded flat."""
    model = _mesh_model(*_rounded_box(0.02))
    fewer = mesh_triangles(model, 0, 0.05)
    flat = unit_normals(fewer.corners)
    large = areas(fewer.corners) > 0.05
    assert large.sum() >= 6 and len(fewer.corners) < 60
    assert (fewer.normals[large] * flat[large][:, None]).sum(axis=-1).min() > 0.98


def test_mesh_with_its_own_texture_keeps_every_triangle():
    vertices, faces = _sphere_of(40)
    model = _mesh_model(vertices, faces, texcoord=vertices[:, :2])
    assert len(_triangles(model, max_error=0.05).corners) == len(faces)
    untextured = _mesh_model(vertices, faces)
    assert len(_triangles(untextured, max_error=0.05).corners) < len(faces) / 5


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path))
    return tmp_path / "meshes"


def _record_calls(monkeypatch):
    calls, real = [], decimate.decimate
    monkeypatch.setattr(decimate, "decimate", lambda *arguments: calls.append(arguments) or real(*arguments))
    return calls


def test_decimated_meshes_are_cached(cache, monkeypatch):
    calls, model = _record_calls(monkeypatch), _mesh_model(*_sphere_of(16))
    first = mesh_triangles(model, 0, 0.0512)
    second = mesh_triangles(model, 0, 0.0519)  # the same to two digits
    assert len(calls) == 1 and calls[0][2] == pytest.approx(0.051)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    mesh_triangles(model, 0, 0.08)
    mesh_triangles(_mesh_model(*_sphere_of(18)), 0, 0.0512)
    assert len(calls) == 3 and len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "flipped"])
def test_corrupt_file_is_written_again(cache, monkeypatch, damage):
    model = _mesh_model(*_sphere_of(16))
    good = mesh_triangles(model, 0, 0.05)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    if damage == "other":
        np.savez(path, corners=np.zeros((2, 3)), normals=np.zeros((2, 3)))
    else:
        path.write_bytes({"cut": whole[:-100], "empty": b"", "flipped": whole[:200] + b"spoilt" + whole[206:]}[damage])
    calls = _record_calls(monkeypatch)
    for a, b in zip(good, mesh_triangles(model, 0, 0.05), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(calls) == 1 and path.read_bytes() == whole
    mesh_triangles(model, 0, 0.05)
    assert len(calls) == 1


def test_folder_that_cannot_be_made_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path / "file"))
    assert len(mesh_triangles(_mesh_model(*_sphere_of(16)), 0, 0.05).corners) < 200


def test_no_bound_and_few_triangles_leave_a_mesh_as_it_is(cache):
    for model, bound in ((_mesh_model(*_sphere_of(16)), 0.0), (_tetrahedron(""), 10.0)):
        for a, b in zip(mesh_triangles(model, 0, bound), full_mesh(model, 0), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not cache.exists()


def _sphere_of(segments):
    return _welded(primitives.ellipsoid(np.ones(3), segments).corners)


def _rounded_box(radius):
    """A box of half side 1 with rounded edges and corners, made from a sphere."""
    corners = radius * primitives.ellipsoid(np.ones(3), 24).corners
    middle = corners.mean(axis=1, keepdims=True)
    side = np.where(np.abs(corners) < 1e-9, np.sign(middle), np.sign(corners))
    from scipy.spatial import ConvexHull

    points = (corners + (1 - radius) * side).reshape(-1, 3)
    hull = ConvexHull(points)
    corners = points[hull.simplices]
    out = (unit_normals(corners) * hull.equations[:, :3]).sum(axis=-1) > 0
    return _welded(np.where(out[:, None, None], corners, corners[:, ::-1]))


def _welded(corners):
    vertices, faces = np.unique(corners.reshape(-1, 3).round(9), axis=0, return_inverse=True)
    return vertices, faces.reshape(-1, 3)


def _mesh_model(vertices, faces, texcoord=None):
    """A mesh with a textured material; it is mapped by the mesh's own texture coordinates if there are any."""
    uv = "" if texcoord is None else f'texcoord="{_text(texcoord)}"'
    return mujoco.MjModel.from_xml_string(
        '<mujoco><asset><texture name="t" type="2d" builtin="checker" width="8" height="8" rgb1="1 0 0"/>'
        f'<material name="c" texture="t"/><mesh name="m" vertex="{_text(vertices)}" face="{_text(faces)}" {uv}/>'
        f'</asset><worldbody>{CAMERA}<body><geom type="mesh" mesh="m" material="c"/></body></worldbody></mujoco>'
    )


def _text(array):
    return " ".join(f"{x:.9g}" for x in np.ravel(array))


def _tetrahedron(texcoord):
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><asset><mesh name="m" vertex="0 0 0 .8 0 0 0 .6 0 .1 .2 .9" {texcoord} '
        f'face="0 2 1 0 1 3 1 2 3 2 0 3"/></asset><worldbody>{CAMERA}'
        '<body><geom type="mesh" mesh="m"/></body></worldbody></mujoco>'
    )
