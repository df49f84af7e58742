"""Tests decimation on a sphere, sheets and plates by closed forms, and distances against a slow definition."""

import numpy as np
import pytest

from rcjax.render import meshes, primitives
from rcjax.render.decimate import decimate, drop_small_pieces, measure_deviation, weld
from rcjax.render.surface import Surface, areas, squared_distance, unit_normals

BOUND = 0.02


def _unit_sphere(segments=48):
    """2208 triangles with three separate vertices each, as in some of MuJoCo's meshes."""
    return _soup(primitives.ellipsoid(np.ones(3), segments).corners)


def _soup(corners):
    """Vertices and faces of triangles that share no vertex."""
    return corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)


def _sheet(n, x=(0.0, 1.0), height=lambda x, y: 0 * x):
    """A rectangle of n x n quads over [x0, x1] x [0, 1], facing up."""
    u, v = np.meshgrid(np.linspace(x[0], x[1], n + 1), np.linspace(0, 1, n + 1), indexing="ij")
    number = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = (number[i : n + i, j : n + j].ravel() for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    return np.stack([u, v, height(u, v)], axis=-1).reshape(-1, 3), faces


def _join(*parts):
    """One mesh of several."""
    start = np.cumsum([0] + [len(points) for points, _ in parts])
    faces = [faces + s for (_, faces), s in zip(parts, start[:-1], strict=True)]
    return np.concatenate([points for points, _ in parts]), np.concatenate(faces)


def _edge_counts(faces):
    """The sorted ends of each edge, and its number of triangles."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(ends, axis=0, return_counts=True)


def _lattice(corners, n=12):
    """Points spread evenly over triangles, independent of the samples under test."""
    share = np.array([[i, j, n - i - j] for i in range(n + 1) for j in range(n + 1 - i)]) / n
    return (share @ corners).reshape(-1, 3)


def test_sphere_stays_within_the_bound_and_closed():
    points, faces = decimate(*_unit_sphere(), BOUND)
    radius = np.linalg.norm(_lattice(points[faces]), axis=-1)
    facets_sag = 1 - np.cos(np.pi / 48)  # how far the original lies inside the sphere
    assert radius.min() > 1 - BOUND - facets_sag and radius.max() < 1 + BOUND
    assert (_edge_counts(faces)[1] == 2).all()
    assert (unit_normals(points[faces]) * points[faces].mean(axis=1)).sum(axis=-1).min() > 0.9  # no triangle flipped
    assert len(faces) < 260  # 240 measured; 2208 before decimation


def test_fewer_triangles_for_a_larger_bound():
    few, fewer = (len(decimate(*_unit_sphere(32), bound)[1]) for bound in (0.02, 0.08))
    assert few > 3 * fewer  # the error of a sphere is inverse to the number of triangles; 244 and 58 measured


def test_wavy_sheet_keeps_its_outline_and_has_no_cracks():
    vertices, original_faces = _sheet(40, height=lambda x, y: 0.1 * np.sin(6 * x) * np.cos(5 * y))
    points, faces = decimate(vertices, original_faces, 0.01)
    assert len(faces) < len(original_faces) / 10
    assert measure_deviation(vertices[original_faces], points[faces], 0.01) <= 0.01
    ends, count = _edge_counts(faces)
    assert (count <= 2).all()
    middle = points[ends[count == 1]].mean(axis=1)[:, :2]
    assert np.minimum(middle, 1 - middle).min(axis=-1).max() < 0.01  # open edges lie on the outline only
    projected_area = areas(points[faces] * [1, 1, 0]).sum()
    assert abs(projected_area - 1) < 0.01  # no part of the square is missing or covered twice


def test_both_sides_of_a_thin_plate_are_kept():
    """They are closer to each other than the bound, but each is culled when seen from its back."""
    top, (below, turned) = _sheet(10), _sheet(10)
    points, faces = decimate(*_join(top, (below - [0, 0, 0.001], turned[:, ::-1])), 0.05)
    up = unit_normals(points[faces])[:, 2]
    area = areas(points[faces])
    assert len(faces) <= 8
    for side in (area[up > 0.9].sum(), area[up < -0.9].sum()):
        assert abs(side - 1) < 0.05


def test_crack_narrower_than_the_bound_is_zipped():
    gap = 0.002
    vertices, original_faces = _join(_sheet(20, (0, 0.5)), _sheet(20, (0.5 + gap, 1)))
    points, faces = decimate(vertices, original_faces, 0.02)
    ends, count = _edge_counts(faces)
    middle = points[ends[count == 1]].mean(axis=1)
    along_the_crack = (np.abs(middle[:, 0] - 0.5) < 0.1) & (middle[:, 1] > 0.05) & (middle[:, 1] < 0.95)
    assert not along_the_crack.any()


@pytest.mark.parametrize("height, turned, stays", [(0.5, False, False), (1.5, False, True), (0.5, True, True)])
def test_small_piece_is_removed_only_if_a_larger_one_replaces_it(height, turned, stays):
    """A patch over a sheet, in units of the bound. Removing one that faces down would leave a hole seen from below."""
    (points, faces), patch = _sheet(4), _sheet(2)
    patch = patch[0] + [4, 4, height], patch[1][:, ::-1] if turned else patch[1]
    welded = weld(*_join((10 * points, faces), patch))
    assert len(drop_small_pieces(*welded)) == len(faces) + stays * len(patch[1])


def test_metaworlds_arm_keeps_the_bound(drawer):
    """A mesh of many pieces with open borders, measured with other samples than those used for decimation."""
    mesh = drawer.model.mesh("l5").id
    whole = meshes.full_mesh(drawer.model, mesh).corners
    points, faces = decimate(*_soup(whole), 0.004)
    assert len(faces) < 250  # 197 measured; 3529 before decimation
    for a, b in ((whole, points[faces]), (points[faces], whole)):
        between = _lattice(a, 5), np.repeat(unit_normals(a), 21, axis=0)
        off, _ = Surface(b / 0.004).nearest(between[0] / 0.004, between[1])
        assert off.max() < 1.1  # 1.02 measured; these samples lie between those that were held to 1


def test_distance_is_the_slow_definitions():
    key = np.random.default_rng(0)
    corners, points = key.normal(size=(200, 3, 3)), key.normal(size=(200, 3))
    fine = _lattice(corners, 60).reshape(200, -1, 3)
    slow = np.linalg.norm(fine - points[:, None], axis=-1).min(axis=1)
    ours = np.sqrt(squared_distance(points, corners))
    spacing = np.linalg.norm(np.roll(corners, 1, axis=1) - corners, axis=-1).max(axis=1) / 60
    assert (ours <= slow + 1e-9).all()
    assert (ours >= slow - spacing).all()


def test_deviation_of_parallel_squares_is_their_distance():
    square = _sheet(1)
    corners = square[0][square[1]]
    for height in (0.03, 0.3):
        np.testing.assert_allclose(
            measure_deviation(corners, corners + np.array([0, 0, height]), 0.1), height, rtol=1e-9
        )
    assert measure_deviation(corners, corners[:, ::-1], 0.1) >= 0.1 * (1 - 1e-9)


def test_a_bound_of_zero_is_refused():
    with pytest.raises(ValueError, match="max_error=0"):
        decimate(*_unit_sphere(), 0)
