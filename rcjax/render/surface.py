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
_AT_A_TIME = 4096  # of those: bounds memory


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
        far = np.flatnonzero(off > _FAR)
        for part in np.array_split(far, len(far) // _AT_A_TIME + 1):
            off[part], faces[part] = self._nearest_of(points[part], normals[part], _MANY_CANDIDATES)
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
    return max(farthest(a, b), farthest(b, a))


def farthest(of: Surface, off: Surface) -> float:
    """How far a sample of the first surface is off the second at most."""
    samples = sample(of.corners)
    return float(off.nearest(samples.points, samples.normals)[0].max())


def unit_normals(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, "K 3"]:
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)


def areas(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, " K"]:
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2


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
    facing = 2 - 2 * np.einsum("px,px->p", normals, corner_normals)
    return squared_distance(points, corners) + _FACING**2 * np.maximum(facing, 0)


def squared_distance(points: Float[np.ndarray, "P 3"], corners: Float[np.ndarray, "P 3 3"]) -> Float[np.ndarray, " P"]:
    """Square of the distance of each point from its triangle: of its foot if that lies inside, else of the edges.

    P comes last within, which is what takes NumPy least time.
    """
    corner = np.ascontiguousarray(corners.transpose(1, 2, 0))
    edges = corner[[1, 2, 0]] - corner
    to_point = np.ascontiguousarray(points.T) - corner
    part = _dot(edges, to_point) / np.maximum(_dot(edges, edges), 1e-30)
    off_edge = to_point - np.clip(part, 0, 1)[:, None] * edges
    squared = _dot(off_edge, off_edge).min(axis=0)
    normal = _cross(edges[0], edges[1])
    size = _dot(normal, normal)
    above = np.array([_dot(_cross(edge, to), normal) for edge, to in zip(edges, to_point, strict=True)]).min(axis=0)
    height = _dot(to_point[0], normal) ** 2 / np.maximum(size, 1e-30)
    return np.where((above >= 0) & (size > 1e-24), height, squared)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar product along the last axis but one."""
    return a[..., 0, :] * b[..., 0, :] + a[..., 1, :] * b[..., 1, :] + a[..., 2, :] * b[..., 2, :]


def _cross(a: Float[np.ndarray, "3 P"], b: Float[np.ndarray, "3 P"]) -> Float[np.ndarray, "3 P"]:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


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
