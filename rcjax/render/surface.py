"""The distance between two triangle surfaces, measured with samples that compare positions and normals.

Lengths here are in units of the allowed error. The distance of a point x with normal n from a triangle with normal m is
sqrt(|x - y|^2 + |n - m|^2 / 4), where y is the triangle's point nearest to x. The back of a thin plate therefore has a
distance of at least 1 from its front and never replaces it, which back-face culling would show as a hole.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

_SPACING = 1.5  # between samples on edges and inside triangles, in units of the allowed error
_MAX_SAMPLES_PER_EDGE = 16  # the samples of a large triangle are farther apart
_MAX_INDEX_SAMPLES_PER_EDGE = 64  # the same for the samples by which the nearest triangle is found
_NORMAL_WEIGHT = 0.5  # of a difference of unit normals, in units of the allowed error
_CANDIDATES = 3  # number of nearest samples whose triangles are tried
_MANY_CANDIDATES = 64  # the same for points whose distance seems to be above `_FAR_DISTANCE`
_FAR_DISTANCE = 0.8
_LEAF_SIZE = 16  # points per leaf of the search tree; it decides which of equally near samples are found
_CHUNK = 4096  # such points that are tried at a time, to bound memory


class Samples(NamedTuple):
    """Points of a surface, with the unit normals and indices of the triangles that they lie on."""

    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]
    faces: Int[np.ndarray, " P"]


class Surface:
    """Triangles [K 3 3] with a search tree over samples of them, for queries of the distance to the surface."""

    def __init__(self, corners: Float[np.ndarray, "K 3 3"]):
        self.corners = corners
        self.normals = unit_normals(corners)
        self._index_samples = sample(corners, _MAX_INDEX_SAMPLES_PER_EDGE)

    @functools.cached_property
    def _tree(self) -> KDTree:
        return KDTree(_features(self._index_samples.points, self._index_samples.normals), leafsize=_LEAF_SIZE)

    def nearest(
        self, points: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"]
    ) -> tuple[Float[np.ndarray, " P"], Int[np.ndarray, " P"]]:
        """Returns the distance of points with normals from the surface, and the index of the nearest triangle.

        The distance is exact for the triangles of the nearest samples. A nearer triangle without any of these samples
        is missed, so the distance may be too large, but never too small.
        """
        distance, faces = self._nearest_of(points, normals, _CANDIDATES)
        far = np.flatnonzero(distance > _FAR_DISTANCE)
        for chunk in np.array_split(far, len(far) // _CHUNK + 1):
            distance[chunk], faces[chunk] = self._nearest_of(points[chunk], normals[chunk], _MANY_CANDIDATES)
        return distance, faces

    def _nearest_of(self, points: np.ndarray, normals: np.ndarray, n_candidates: int) -> tuple[np.ndarray, np.ndarray]:
        count = min(n_candidates, len(self._index_samples.points))
        rows = self._tree.query(_features(points, normals), k=count)[1].reshape(len(points), count)
        faces = self._index_samples.faces[rows]
        point, face = np.repeat(np.arange(len(points)), count), faces.reshape(-1)
        distance = squared_combined_distance(
            points[point], normals[point], self.corners[face], self.normals[face]
        ).reshape(faces.shape)
        first = np.arange(len(points)), distance.argmin(axis=1)
        return np.sqrt(distance[first]), faces[first]


def hausdorff_distance(a: Surface, b: Surface) -> float:
    """Returns the largest distance of a sample of either surface from the other; it may be larger between samples."""
    return max(one_sided_hausdorff_distance(a, b), one_sided_hausdorff_distance(b, a))


def one_sided_hausdorff_distance(surface: Surface, other: Surface) -> float:
    """Returns the largest distance of a sample of the first surface from the second."""
    samples = sample(surface.corners)
    return float(other.nearest(samples.points, samples.normals)[0].max())


def unit_normals(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, "K 3"]:
    """Returns the unit normals of triangles."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)


def areas(corners: Float[np.ndarray, "K 3 3"]) -> Float[np.ndarray, " K"]:
    """Returns the areas of triangles."""
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2


def sample(corners: Float[np.ndarray, "K 3 3"], per_edge: int = _MAX_SAMPLES_PER_EDGE) -> Samples:
    """Samples triangles: their corners in order, then points along their edges, then points spread over them."""
    longest = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=-1).max(axis=1)
    spacing = np.maximum(_SPACING, longest / per_edge)
    at_corners = corners.reshape(-1, 3), np.repeat(np.arange(len(corners)), 3)
    parts = [at_corners, *_edge_samples(corners, spacing), _face_samples(corners, spacing)]
    points, faces = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Samples(points, unit_normals(corners)[faces], faces)


def thin_out(samples: Samples) -> Samples:
    """Keeps one sample of those in the same cube of side 1/4 with similar normals."""
    bins = np.round(np.concatenate([samples.points, samples.normals], axis=-1) * 4).astype(np.int32)
    kept = np.sort(np.unique(bins.view([("", bins.dtype)] * 6).reshape(-1), return_index=True)[1])
    return Samples(*(array[kept] for array in samples))


def squared_combined_distance(
    points: np.ndarray, normals: np.ndarray, corners: np.ndarray, corner_normals: np.ndarray
) -> Float[np.ndarray, " P"]:
    """Returns the squared distance of each point, with its normal, from its triangle; see the module's docstring."""
    normal_term = 2 - 2 * np.einsum("px,px->p", normals, corner_normals)
    return squared_distance(points, corners) + _NORMAL_WEIGHT**2 * np.maximum(normal_term, 0)


def squared_distance(points: Float[np.ndarray, "P 3"], corners: Float[np.ndarray, "P 3 3"]) -> Float[np.ndarray, " P"]:
    """Returns the squared Euclidean distance of each point from its triangle.

    It is the distance from the triangle's plane if the point projects into the triangle, else from its nearest edge.
    Inside the function, the axis P comes last, which is fastest in NumPy.
    """
    corner = np.ascontiguousarray(corners.transpose(1, 2, 0))
    edges = corner[[1, 2, 0]] - corner
    to_point = np.ascontiguousarray(points.T) - corner
    t = _dot(edges, to_point) / np.maximum(_dot(edges, edges), 1e-30)
    off_edge = to_point - np.clip(t, 0, 1)[:, None] * edges
    squared = _dot(off_edge, off_edge).min(axis=0)
    normal = _cross(edges[0], edges[1])
    normal_squared = _dot(normal, normal)
    inside = np.array([_dot(_cross(edge, offset), normal) for edge, offset in zip(edges, to_point, strict=True)]).min(
        axis=0
    )
    height = _dot(to_point[0], normal) ** 2 / np.maximum(normal_squared, 1e-30)
    return np.where((inside >= 0) & (normal_squared > 1e-24), height, squared)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot product along the second-to-last axis."""
    return a[..., 0, :] * b[..., 0, :] + a[..., 1, :] * b[..., 1, :] + a[..., 2, :] * b[..., 2, :]


def _cross(a: Float[np.ndarray, "3 P"], b: Float[np.ndarray, "3 P"]) -> Float[np.ndarray, "3 P"]:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _features(points: np.ndarray, normals: np.ndarray) -> Float[np.ndarray, "P 6"]:
    """Points of a space in which Euclidean distances are the distances between points with normals."""
    return np.concatenate([points, _NORMAL_WEIGHT * normals], axis=-1)


def _edge_samples(corners: np.ndarray, spacing: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Evenly spaced points between the ends of each edge, with the indices of their triangles."""
    for k in range(3):
        start, step = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
        count = np.ceil(np.linalg.norm(step, axis=-1) / spacing).astype(int) - 1
        faces, number = expand_counts(np.maximum(count, 0))
        t = (number + 1) / (count[faces] + 1)
        yield start[faces] + t[:, None] * step[faces], faces


def _face_samples(corners: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """About one sample per square of side `spacing`, by Roberts' R2 sequence in each triangle."""
    faces, number = expand_counts((areas(corners) / spacing**2).astype(int))
    u, v = ((number + 0.5) * 0.7548776662466927) % 1, ((number + 0.5) * 0.5698402909980532) % 1
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = corners[faces].swapaxes(0, 1)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), faces


def expand_counts(counts: Int[np.ndarray, " K"]) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Repeats each index k `counts[k]` times; returns the indices, and the number of each repetition from 0."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
