"""How far two triangle surfaces are apart, told by samples that also compare which way the surfaces face.

Lengths here are in units of the error that is allowed. A point x that faces along n is off a triangle that faces
along m by sqrt(|x - y|^2 + |n - m|^2 / 4), y the triangle's nearest point: the back of a thin plate, off by 1 and
more, never stands for its front, which is what culling of back faces would show as a hole.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

_SPACING = 1.5  # between samples on edges and inside triangles, in units of the error allowed
_PER_EDGE = 16  # samples along an edge at most: a large triangle's are farther apart
_PER_EDGE_SOUGHT = 64  # the same where triangles are found by their samples
_FACING = 0.5  # a difference of unit normals counts so much, in units of the error allowed
_CANDIDATES = 3  # nearest samples whose triangles are tried
_MANY_CANDIDATES = 64  # the same for points that seem to be far off
_FAR = 0.8


class Samples(NamedTuple):
    """Points of a surface, the unit normals and the numbers of the triangles that they lie on."""

    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]
    faces: Int[np.ndarray, " P"]


class Surface:
    """Triangles [K 3 3], sampled, ready to be asked for their distance."""

    def __init__(self, corners: Float[np.ndarray, "K 3 3"]):
        self.corners = corners
        self.normals = unit_normals(corners)
        self._sought = sample(corners, _PER_EDGE_SOUGHT)

    @functools.cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(_features(self._sought.points, self._sought.normals))

    def nearest(
        self, points: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"]
    ) -> tuple[Float[np.ndarray, " P"], Int[np.ndarray, " P"]]:
        """How far points that face along `normals` are off, and off which triangle.

        Exact for the triangles of the nearest samples; a nearer triangle that has none of them is missed, so the
        distance may be too large, never too small.
        """
        off, faces = self._nearest_of(points, normals, _CANDIDATES)
        far = off > _FAR
        off[far], faces[far] = self._nearest_of(points[far], normals[far], _MANY_CANDIDATES)
        return off, faces

    def _nearest_of(self, points, normals, n_candidates: int) -> tuple[np.ndarray, np.ndarray]:
        count = min(n_candidates, len(self._sought.points))
        rows = self._tree.query(_features(points, normals), k=count)[1].reshape(len(points), count)
        faces = self._sought.faces[rows]
        each, face = np.repeat(np.arange(len(points)), count), faces.reshape(-1)
        off = squared_offset(points[each], normals[each], self.corners[face], self.normals[face]).reshape(faces.shape)
        first = np.arange(len(points)), off.argmin(axis=1)
        return np.sqrt(off[first]), faces[first]


def deviation(a: Surface, b: Surface) -> float:
    """How far a sample of one surface is off the other at most, both ways; between samples it may be farther."""

    def one_way(x: Surface, y: Surface) -> float:
        samples = sample(x.corners)
        return float(y.nearest(samples.points, samples.normals)[0].max())

    return max(one_way(a, b), one_way(b, a))


def unit_normals(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, "K 3"]:
    normal = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)


def areas(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, " K"]:
    return np.linalg.norm(_cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2


def sample(corners: Float[np.ndarray, "K 3 3"], per_edge: int = _PER_EDGE) -> Samples:
    """Every triangle's corners in their order, then points along its edges, and points strewn evenly over it."""
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=-1).max(axis=1)
    spacing = np.maximum(_SPACING, longest / per_edge)
    at_corners = corners.reshape(-1, 3), np.repeat(np.arange(len(corners)), 3)
    parts = [at_corners, *_edge_samples(corners, spacing), _face_samples(corners, spacing)]
    points, faces = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Samples(points, unit_normals(corners)[faces], faces)


def thinned(samples: Samples) -> Samples:
    """One sample for all in a cube of a quarter of the unit that face about alike."""
    alike = np.round(np.concatenate([samples.points, samples.normals], axis=-1) * 4).astype(np.int32)
    kept = np.sort(np.unique(alike.view([("", alike.dtype)] * 6).reshape(-1), return_index=True)[1])
    return Samples(*(array[kept] for array in samples))


def squared_offset(points, normals, corners, corner_normals) -> Float[np.ndarray, " P"]:
    """Square of how far each point is off its triangle, see the module's first lines."""
    facing = ((normals - corner_normals) ** 2).sum(axis=-1)
    return squared_distance(points, corners) + _FACING**2 * facing


def squared_distance(points: Float[np.ndarray, "P 3"], corners: Float[np.ndarray, "P 3 3"]) -> Float[np.ndarray, " P"]:
    """Square of the distance of each point from its triangle: of its foot if that lies inside, else of the edges."""
    edges = corners[:, [1, 2, 0]] - corners
    to_point = points[:, None] - corners
    along = np.einsum("pkx,pkx->pk", edges, to_point)
    length = np.einsum("pkx,pkx->pk", edges, edges)
    off_edge = to_point - np.clip(along / np.maximum(length, 1e-30), 0, 1)[..., None] * edges
    squared = np.einsum("pkx,pkx->pk", off_edge, off_edge).min(axis=1)
    normal = _cross(edges[:, 0], edges[:, 1])
    inside = (np.einsum("pkx,px->pk", _cross(edges, to_point), normal) >= 0).all(axis=1)
    size = np.einsum("px,px->p", normal, normal)
    height = np.einsum("px,px->p", to_point[:, 0], normal) ** 2 / np.maximum(size, 1e-30)
    return np.where(inside & (size > 1e-24), height, squared)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`np.cross` of vectors in the last axis, in half the time."""
    (a0, a1, a2), (b0, b1, b2) = (np.moveaxis(x, -1, 0) for x in (a, b))
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)


def _features(points: np.ndarray, normals: np.ndarray) -> Float[np.ndarray, "P 6"]:
    """Places in which the nearest sample is the one that a point is least off."""
    return np.concatenate([points, _FACING * normals], axis=-1)


def _edge_samples(corners, spacing):
    for k in range(3):
        start, step = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
        count = np.ceil(np.linalg.norm(step, axis=-1) / spacing).astype(int) - 1
        faces, number = runs(np.maximum(count, 0))
        part = (number + 1) / (count[faces] + 1)
        yield start[faces] + part[:, None] * step[faces], faces


def _face_samples(corners, spacing) -> tuple[np.ndarray, np.ndarray]:
    """About one to a square of the spacing, by Roberts' R2 sequence in each triangle."""
    faces, number = runs((areas(corners) / spacing**2).astype(int))
    u, v = ((number + 0.5) * 0.7548776662466927) % 1, ((number + 0.5) * 0.5698402909980532) % 1
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = corners[faces].swapaxes(0, 1)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), faces


def runs(counts: Int[np.ndarray, " K"]) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """`counts[k]` rows for each k: its k, and its number among those of the same k."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
