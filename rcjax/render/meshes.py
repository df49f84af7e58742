"""Triangles of MuJoCo geoms in the geom's own frame: primitives tessellated, meshes decimated. Host, NumPy."""

from typing import NamedTuple

import fast_simplification
import mujoco
import numpy as np
from jaxtyping import Float, Int


class Triangles(NamedTuple):
    """K triangles of one geom, counter-clockwise seen from outside.

    `unit` is where MuJoCo draws its unit shape, before scaling; texture coordinates are made from it. Primitives:
    the corner divided by the geom's size. A capsule's body and its two caps are scaled each by itself: the caps are
    half spheres about z = 1 and z = -1. A plane's infinite side, and a mesh, are drawn in metres as they are.
    """

    corners: Float[np.ndarray, "K 3 3"]  # metres, in the geom's frame
    normals: Float[np.ndarray, "K 3 3"]  # unit, at the corners
    unit: Float[np.ndarray, "K 3 3"]
    uv: Float[np.ndarray, "K 3 2"]  # a mesh's own texture coordinates; zeros where there are none


_GEOM = mujoco.mjtGeom
_CREASE_COSINE = 0.8  # faces that differ by more are not averaged; MuJoCo draws such corners with the face's normal


def geom_triangles(
    model: mujoco.MjModel, geom: int, *, segments: int, mesh_budget: int, mesh_cell: float, plane_half_side: float
) -> Triangles:
    """The triangles that stand for one geom.

    `segments` is the number of facets round a full circle, `mesh_budget` and `mesh_cell` bound a mesh's detail (see
    `mesh_triangles`), `plane_half_side` (metres) is where an infinite plane is cut off. ValueError for a type that
    has no triangles here.
    """
    kind, size = _GEOM(model.geom_type[geom]), model.geom_size[geom]
    if kind == _GEOM.mjGEOM_PLANE:
        return _plane(size[:2], plane_half_side)
    if kind == _GEOM.mjGEOM_BOX:
        return _scaled(_unit_box(), size)
    if kind == _GEOM.mjGEOM_SPHERE:
        return _scaled(_unit_sphere(segments), np.full(3, size[0]))
    if kind == _GEOM.mjGEOM_ELLIPSOID:
        return _scaled(_unit_sphere(segments), size)
    if kind == _GEOM.mjGEOM_CYLINDER:
        return _scaled(_unit_cylinder(segments), size[[0, 0, 1]])
    if kind == _GEOM.mjGEOM_CAPSULE:
        return _capsule(size[0], size[1], segments)
    if kind == _GEOM.mjGEOM_MESH:
        return mesh_triangles(model, int(model.geom_dataid[geom]), mesh_budget, mesh_cell)
    name = repr(model.geom(geom).name) if model.geom(geom).name else f"number {geom}"
    raise ValueError(
        f"geom {name} is a {kind.name[7:].lower()}, which cannot be drawn; "
        "use a plane, box, sphere, capsule, cylinder, ellipsoid or mesh, or move it to a geom group above 2."
    )


def mesh_triangles(model: mujoco.MjModel, mesh: int, budget: int, cell: float) -> Triangles:
    """A mesh with about `budget` triangles; one that has no more keeps its own corners and normals.

    Vertices in one cube of side `cell` (metres) are merged first: quadric decimation stops early on meshes of many
    small or unconnected pieces, and what is smaller than a pixel need not be kept.
    """
    vertices = _rows(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]).astype(np.float64)
    faces = _rows(model.mesh_face, model.mesh_faceadr[mesh], model.mesh_facenum[mesh])
    if len(faces) <= budget:
        return whole_mesh(model, mesh)
    vertices, faces = _merge_vertices(vertices, faces, cell)
    if len(faces) > budget:
        vertices, faces = fast_simplification.simplify(vertices, faces.astype(np.int32), target_count=budget)[:2]
    corners = vertices[faces].astype(np.float64)
    return _in_metres(corners, _creased_normals(corners, faces, len(vertices)), np.zeros((len(corners), 3, 2)))


def whole_mesh(model: mujoco.MjModel, mesh: int) -> Triangles:
    """Every triangle of a mesh, shaded as MuJoCo draws it, with its own texture coordinates if it has them.

    Without texture coordinates a corner whose normal is off its face's by more than the crease angle is drawn with
    the face's (`mjr_uploadMesh`).
    """
    faces = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + model.mesh_facenum[mesh])
    corners = _rows(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_vertnum[mesh])[model.mesh_face[faces]]
    normals = _rows(model.mesh_normal, model.mesh_normaladr[mesh], model.mesh_normalnum[mesh])
    normals = normals[model.mesh_facenormal[faces]].astype(np.float64)
    corners = corners.astype(np.float64)
    if model.mesh_texcoordnum[mesh]:
        uv = _rows(model.mesh_texcoord, model.mesh_texcoordadr[mesh], model.mesh_texcoordnum[mesh])
        return _in_metres(corners, normals, uv[model.mesh_facetexcoord[faces]].astype(np.float64))
    flat = _normalise(_face_normals(corners))[:, None]
    creased = (normals * flat).sum(-1, keepdims=True) < _CREASE_COSINE
    return _in_metres(corners, np.where(creased, flat, normals), np.zeros((len(corners), 3, 2)))


def _in_metres(corners: np.ndarray, normals: np.ndarray, uv: np.ndarray) -> Triangles:
    return Triangles(corners=corners, normals=normals, unit=corners, uv=uv)


def _merge_vertices(vertices: np.ndarray, faces: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
    """One vertex, the mean, for all in a grid cell; faces that lose a corner or come twice go."""
    _, place, count = np.unique(np.round(vertices / cell), axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    mean = np.stack([np.bincount(place, weights=axis) for axis in vertices.T], axis=-1) / count[:, None]
    faces = place[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    turned = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    return mean, np.unique(turned, axis=0)


def mesh_area(model: mujoco.MjModel, mesh: int) -> float:
    """Area of the mesh's surface, inside and out, in square metres."""
    vertices = _rows(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_vertnum[mesh])
    faces = _rows(model.mesh_face, model.mesh_faceadr[mesh], model.mesh_facenum[mesh])
    return float(np.linalg.norm(_face_normals(vertices[faces].astype(np.float64)), axis=-1).sum() / 2)


def _rows(array: np.ndarray, start: int, count: int) -> np.ndarray:
    return array[start : start + count]


def _face_normals(corners: np.ndarray) -> np.ndarray:
    """Normals as long as twice the face's area."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _creased_normals(corners: np.ndarray, faces: Int[np.ndarray, "K 3"], n_vertices: int) -> np.ndarray:
    """At each corner the area-weighted mean of the normals of the faces there that lie within the crease angle."""
    weighted = _face_normals(corners)
    unit = _normalise(weighted)
    around: list[list[int]] = [[] for _ in range(n_vertices)]
    for face, vertices in enumerate(faces):
        for vertex in vertices:
            around[vertex].append(face)
    normals = np.repeat(unit[:, None], 3, axis=1)
    for face, vertices in enumerate(faces):
        for corner, vertex in enumerate(vertices):
            near = np.asarray(around[vertex])
            near = near[unit[near] @ unit[face] >= _CREASE_COSINE]
            if len(near):
                normals[face, corner] = weighted[near].sum(0)
    return _normalise(normals)


def _normalise(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _quads(corners: Float[np.ndarray, "Q 4 3"], normals: Float[np.ndarray, "Q 4 3"]) -> Triangles:
    """Two triangles for each quad of a unit shape."""
    split = np.array([[0, 1, 2], [0, 2, 3]])
    unit = corners[:, split].reshape(-1, 3, 3)
    return Triangles(unit, normals[:, split].reshape(-1, 3, 3), unit, np.zeros((len(unit), 3, 2)))


def _join(*parts: Triangles) -> Triangles:
    """All of them in one, less those without area."""
    joined = Triangles(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    keep = np.linalg.norm(_face_normals(joined.corners), axis=-1) > 0
    return Triangles(*(array[keep] for array in joined))


def _scaled(shape: Triangles, size: Float[np.ndarray, " 3"]) -> Triangles:
    return shape._replace(corners=shape.corners * size, normals=_normalise(shape.normals / size))


def _plane(half: Float[np.ndarray, " 2"], infinite: float) -> Triangles:
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    shape = _quads(square[None], np.broadcast_to([0.0, 0.0, 1.0], (1, 4, 3)))
    drawn = np.append(np.where(half > 0, half, infinite), 1.0)
    unit_scale = np.append(np.where(half > 0, 1.0, infinite), 1.0)
    return _scaled(shape, drawn)._replace(unit=shape.unit * unit_scale)


def _unit_box() -> Triangles:
    corners, normals = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, u, v = np.zeros(3), np.zeros(3), np.zeros(3)
            normal[axis], u[(axis + 1) % 3], v[(axis + 2) % 3] = sign, sign, 1.0
            corners.append([normal - u - v, normal + u - v, normal + u + v, normal - u + v])
            normals.append([normal] * 4)
    return _quads(np.array(corners), np.array(normals))


def _revolve(radius: np.ndarray, height: np.ndarray, slope: np.ndarray, segments: int) -> Triangles:
    """A surface of revolution about z from a profile [P] that climbs; `slope` [P 2] is (radial, z) of its normal."""
    angle = 2 * np.pi * np.arange(segments + 1) / segments
    round_ = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = np.concatenate(
        [radius[:, None, None] * round_, np.broadcast_to(height[:, None, None], (len(radius), segments + 1, 1))], -1
    )
    normals = np.concatenate(
        [slope[:, :1, None] * round_, np.broadcast_to(slope[:, 1:, None], (len(radius), segments + 1, 1))], -1
    )

    def quads(grid):
        around = [grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]]
        return np.stack(around, axis=2).reshape(-1, 4, 3)

    return _join(_quads(quads(points), quads(normals)))


def _arc(start: float, stop: float, segments: int) -> np.ndarray:
    """(cosine, sine) of latitudes from start to stop, about as far apart as the facets round the equator."""
    count = max(2, round(segments * (stop - start) / (2 * np.pi)))
    latitude = np.linspace(start, stop, count + 1)
    around = np.stack([np.cos(latitude), np.sin(latitude)], axis=-1)
    around[np.abs(around) < 1e-12] = 0.0
    return around


def _unit_sphere(segments: int) -> Triangles:
    arc = _arc(-np.pi / 2, np.pi / 2, segments)
    return _revolve(arc[:, 0], arc[:, 1], arc, segments)


def _unit_wall(segments: int) -> Triangles:
    """An open cylinder."""
    return _revolve(np.ones(2), np.array([-1.0, 1.0]), np.array([[1.0, 0.0]] * 2), segments)


def _unit_cylinder(segments: int) -> Triangles:
    disc = np.array([1.0, 0.0])
    top = _revolve(disc, np.ones(2), np.array([[0.0, 1.0]] * 2), segments)
    bottom = _revolve(disc[::-1], -np.ones(2), np.array([[0.0, -1.0]] * 2), segments)
    return _join(_unit_wall(segments), top, bottom)


def _capsule(radius: float, half_length: float, segments: int) -> Triangles:
    parts = [_scaled(_unit_wall(segments), np.array([radius, radius, half_length]))] if half_length > 0 else []
    for sign in (-1.0, 1.0):
        arc = _arc(*sorted((0.0, sign * np.pi / 2)), segments)
        cap = _scaled(_revolve(arc[:, 0], arc[:, 1], arc, segments), np.full(3, radius))
        up = sign * np.array([0.0, 0.0, 1.0])
        parts.append(cap._replace(corners=cap.corners + half_length * up, unit=cap.unit + up))
    return _join(*parts)
