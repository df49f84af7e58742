"""Mesh decimation by edge collapses, with a bound on the error of every step.

Edges are collapsed in the order of their quadric error (Garland and Heckbert 1997), with quadrics for open borders as
well as for faces. Many edges that do not touch each other are collapsed at a time. Connected triangles stay connected.
A collapse is accepted only if

* no triangle flips, no strip between two borders is pinched, and no piece vanishes;
* all samples of the original surface that were assigned to the removed or moved triangles are within the bound of the
  remaining ones, and samples of these are within the bound of the original.

`rcjax.render.surface` defines the distance; lengths here are in units of the bound. Vertices on open borders that
nearly meet are joined as if there were an edge between them, so that cracks are closed and not widened.
"""

import dataclasses
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from rcjax.render.surface import (
    Samples,
    Surface,
    areas,
    expand_counts,
    hausdorff_distance,
    one_sided_hausdorff_distance,
    sample,
    squared_combined_distance,
    thin_out,
    unit_normals,
)

_STAGES = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.7,
    1.0,
)  # quadric errors up to which edges are collapsed, in stages of increasing error
_MAX_SAMPLES_PER_EDGE = 6  # of the original; the triangles that replace it have longer edges
_BORDER_GAP = 0.25  # open borders that are closer to each other are joined
_MIN_TURN_COSINE = 0.3  # cosine of the largest angle by which one collapse may turn a triangle
_MIN_PROGRESS = 0.003  # a stage ends when a round collapses fewer edges than this fraction of the triangles
_SMALL_DIAGONAL = 6.0  # pieces with a smaller diagonal are removed if they are within the bound of the rest
_LEAF_SIZE = 16  # points per leaf of a search tree; it decides which of equally near points are found
_BOUNDS = (0.95, 0.95, 0.8, 0.6)  # tried in turn until the measured deviation of the result is at most 1


def decimate(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"], max_error: float
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "L 3"]]:
    """Returns a mesh of fewer triangles that deviates by at most `max_error` from the given one, in both directions.

    The deviation is that of `measure_deviation`. It holds at samples that are about 1.5 `max_error` apart, and closer
    where the original has small triangles. Vertices at the same position are merged and triangles without area are
    removed, whatever the bound.

    Args:
        vertices: Positions in metres.
        faces: Vertex indices of the triangles.
        max_error: The bound in metres.

    Returns:
        The vertices and faces of the decimated mesh.

    Raises:
        ValueError: `max_error` is not above 0.
    """
    if max_error <= 0:
        raise ValueError(f"max_error={max_error}; expected a length in metres above 0.")
    centre = vertices.mean(axis=0)
    welded_points, welded_faces = weld((vertices - centre) / max_error, faces)
    if not len(welded_faces):
        return vertices, faces
    original = Surface(welded_points[welded_faces])
    all_samples = sample(original.corners)
    tracked = thin_out(sample(original.corners, _MAX_SAMPLES_PER_EDGE))
    kept = drop_small_pieces(welded_points, welded_faces)
    for bound in _BOUNDS:
        points, new_faces = _collapse_edges(welded_points, kept, original, tracked, bound)
        decimated = Surface(points[new_faces])
        distance, _ = decimated.nearest(all_samples.points, all_samples.normals)
        if distance.max() <= 1 and one_sided_hausdorff_distance(decimated, original) <= 1:
            return _compact(points * max_error + centre, new_faces)
        tracked = Samples(*(np.concatenate([a, b[distance > 1]]) for a, b in zip(tracked, all_samples, strict=True)))
    return _compact(welded_points * max_error + centre, welded_faces)


def measure_deviation(a: Float[np.ndarray, "K 3 3"], b: Float[np.ndarray, "L 3 3"], max_error: float) -> float:
    """Returns the Hausdorff distance of two surfaces in metres, measured at samples.

    `max_error` (metres) sets the spacing of the samples and the weight of their normals, see `rcjax.render.surface`.
    """
    return max_error * hausdorff_distance(Surface(a / max_error), Surface(b / max_error))


def weld(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Merges vertices that agree to 1e-5; removes triangles without area and duplicates."""
    rounded = np.round(vertices * 1e5)
    _, first, position = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    points, faces = vertices[first], position.reshape(-1)[faces]
    faces = faces[areas(points[faces]) > 1e-10]
    rotated = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    return _compact(points, np.unique(rotated, axis=0))


def drop_small_pieces(points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"]) -> Int[np.ndarray, "L 3"]:
    """Returns the faces without small connected pieces that are within the bound of the larger ones."""
    piece = _pieces(len(points), faces)[faces[:, 0]]
    numbers, piece = np.unique(piece, return_inverse=True)
    low, high = np.full((len(numbers), 3), np.inf), np.full((len(numbers), 3), -np.inf)
    for k in range(3):
        np.minimum.at(low, piece, points[faces[:, k]])
        np.maximum.at(high, piece, points[faces[:, k]])
    small = (np.linalg.norm(high - low, axis=-1) < _SMALL_DIAGONAL)[piece]
    if small.all() or not small.any():
        return faces
    samples = sample(points[faces[small]])
    distance, _ = Surface(points[faces[~small]]).nearest(samples.points, samples.normals)
    is_needed = np.zeros(len(numbers), bool)
    is_needed[piece[small][samples.faces[distance > 0.9]]] = True
    return faces[~small | is_needed[piece]]


def _pieces(n_points: int, faces: np.ndarray) -> Int[np.ndarray, " V"]:
    """The connected component of each vertex."""
    a, b = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    return connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(n_points, n_points)), directed=False)[1]


def _compact(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vertices that faces use, and the faces with their new indices."""
    used, faces = np.unique(faces, return_inverse=True)
    return points[used], faces.reshape(-1, 3)


@dataclasses.dataclass
class _State:
    """The mesh during decimation. The arrays keep their lengths; removed faces are marked in `alive`."""

    points: Float[np.ndarray, "V 3"]
    quadric: Float[np.ndarray, "V 4 4"]  # weighted sum of squared distances to the planes merged at the vertex
    weight: Float[np.ndarray, " V"]  # the sum of those weights
    faces: Int[np.ndarray, "K 3"]
    alive: Bool[np.ndarray, " K"]
    samples: Samples  # of the original surface
    face_of_sample: Int[np.ndarray, " P"]  # the face to which each sample is assigned


@dataclasses.dataclass
class _Edges:
    """Edges that may collapse, cheapest first, each to one position."""

    ends: Int[np.ndarray, "E 2"]
    faces: Int[np.ndarray, " E"]  # number of triangles at the edge; 0 for a pair on borders that nearly meet
    position: Float[np.ndarray, "E 3"]

    def take(self, rows: np.ndarray) -> "_Edges":
        """Selects edges by indices or a mask."""
        return _Edges(self.ends[rows], self.faces[rows], self.position[rows])


def _collapse_edges(
    points: np.ndarray, faces: np.ndarray, original: Surface, tracked: Samples, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Collapses edges, stage by stage, while the tracked samples stay within the bound."""
    state = _initial_state(points, faces, tracked)
    for tolerance in _STAGES:
        refused = np.zeros(0, np.int64)
        while True:
            edges = _candidate_edges(state, tolerance, refused)
            chosen = _independent_edges(state, edges)
            if not len(chosen.ends):
                break
            rings = _rings(state, chosen)
            accepted = _preserves_mesh(state, chosen, rings)
            accepted, assigned = _keeps_bound(state, chosen, rings, accepted, original, bound)
            refused = np.append(refused, _edge_key(chosen.ends[~accepted], len(points)))
            _apply(state, chosen, rings, accepted, assigned)
            if accepted.sum() < _MIN_PROGRESS * state.alive.sum() and tolerance < _STAGES[-1]:
                break
    return state.points, state.faces[state.alive]


def _initial_state(points: np.ndarray, faces: np.ndarray, tracked: Samples) -> _State:
    quadric, weight = _quadrics(points, faces)
    return _State(
        points=points.copy(),
        quadric=quadric,
        weight=weight,
        faces=faces.copy(),
        alive=np.ones(len(faces), bool),
        samples=tracked,
        face_of_sample=Surface(points[faces]).nearest(tracked.points, tracked.normals)[1],
    )


def _quadrics(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quadrics of faces at their corners, weighted by area, and of planes upright on open edges, by squared length."""
    normals, area = unit_normals(points[faces]), areas(points[faces])
    ends, count, face = _edges(faces, len(points))
    ends, face = ends[count == 1], face[count == 1]
    along = points[ends[:, 1]] - points[ends[:, 0]]
    border_normals = np.cross(along, normals[face])
    length = np.linalg.norm(along, axis=-1)
    border_normals /= np.maximum(np.linalg.norm(border_normals, axis=-1, keepdims=True), 1e-30)
    quadric, weight = np.zeros((len(points), 4, 4)), np.zeros(len(points))
    for vertices, normal, plane_weight in ((faces, normals, area), (ends, border_normals, length**2)):
        plane = np.concatenate([normal, -(normal * points[vertices[:, 0]]).sum(axis=-1, keepdims=True)], axis=-1)
        for corner in vertices.T:
            np.add.at(quadric, corner, plane_weight[:, None, None] * plane[:, :, None] * plane[:, None])
            np.add.at(weight, corner, plane_weight)
    return quadric, weight


def _edges(faces: np.ndarray, n_points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends of each edge, its number of triangles, and one of these triangles."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    key, first, count = np.unique(pairs[:, 0] * n_points + pairs[:, 1], return_index=True, return_counts=True)
    return np.stack([key // n_points, key % n_points], axis=-1), count, first % len(faces)


def _candidate_edges(state: _State, tolerance: float, refused: np.ndarray) -> _Edges:
    """Edges whose collapse costs at most the tolerance and that were not refused before, the cheapest first."""
    n_points = len(state.points)
    ends, count, _ = _edges(state.faces[state.alive], n_points)
    border = np.zeros(n_points, bool)
    border[ends[count == 1]] = True
    pairs = _nearby_border_pairs(state.points, np.flatnonzero(border))
    pairs = pairs[~np.isin(_edge_key(pairs, n_points), _edge_key(ends, n_points))]
    ends, count = np.concatenate([ends, pairs]), np.append(count, np.zeros(len(pairs), int))
    allowed = (count < 2) | ~border[ends].all(axis=1)  # collapsing an inner edge between borders would pinch
    allowed &= ~np.isin(_edge_key(ends, n_points), refused)
    edges = _Edges(ends[allowed], count[allowed], np.zeros((allowed.sum(), 3)))
    cost = _optimal_positions(state, edges)
    order = np.argsort(_shuffled_order_key(cost))
    return edges.take(order[cost[order] <= tolerance])


def _edge_key(ends: np.ndarray, n_points: int) -> Int[np.ndarray, " E"]:
    """One integer for each pair of vertices."""
    return ends[:, 0] * n_points + ends[:, 1]


def _nearby_border_pairs(points: np.ndarray, border: np.ndarray) -> Int[np.ndarray, "E 2"]:
    """Pairs of border vertices closer than the gap; each vertex is paired with its few nearest."""
    if len(border) < 2:
        return np.zeros((0, 2), int)
    count = min(4, len(border))
    tree = KDTree(points[border], leafsize=_LEAF_SIZE)
    neighbours = cast(np.ndarray, tree.query(points[border], k=count, distance_upper_bound=_BORDER_GAP)[1])
    a, b = np.broadcast_to(np.arange(len(border))[:, None], neighbours.shape), neighbours
    is_pair = (b < len(border)) & (a != b)
    return np.unique(np.sort(np.stack([border[a[is_pair]], border[b[is_pair]]], axis=-1), axis=-1), axis=0)


def _optimal_positions(state: _State, edges: _Edges) -> Float[np.ndarray, " E"]:
    """Sets each edge's position to the one with the least quadric error; returns the error, an RMS distance."""
    a, b = edges.ends.T
    quadric, weight = state.quadric[a] + state.quadric[b], np.maximum(state.weight[a] + state.weight[b], 1e-30)
    ridge = 1e-3 * weight  # towards the middle, where the planes do not determine the position
    middle = (state.points[a] + state.points[b]) / 2
    matrix = quadric[:, :3, :3] + ridge[:, None, None] * np.eye(3)
    edges.position = np.linalg.solve(matrix, (ridge[:, None] * middle - quadric[:, :3, 3])[..., None])[..., 0]
    position = np.concatenate([edges.position, np.ones((len(a), 1))], axis=-1)
    return np.sqrt(np.maximum(np.einsum("ei,eij,ej->e", position, quadric, position), 0) / weight)


def _shuffled_order_key(cost: np.ndarray) -> np.ndarray:
    """Sort keys that put costs within a factor of 1.4 in a fixed random order, so that many edges are local minima."""
    return np.round(2 * np.log2(cost + 1e-4)) + np.random.default_rng(len(cost)).random(len(cost))


def _independent_edges(state: _State, edges: _Edges) -> _Edges:
    """The edges that come first among all edges at the triangles around their ends: no two share a triangle."""
    faces = state.faces[state.alive]
    rank = np.arange(len(edges.ends))
    first_at_point = np.full(len(state.points), len(rank))
    for end in edges.ends.T:
        np.minimum.at(first_at_point, end, rank)
    first_at_face = first_at_point[faces].min(axis=1)
    first_nearby = first_at_point.copy()
    for corner in faces.T:
        np.minimum.at(first_nearby, corner, first_at_face)
    return edges.take((first_nearby[edges.ends] == rank[:, None]).all(axis=1))


@dataclasses.dataclass
class _Rings:
    """The triangles at the ends of edges (one-rings), sorted by edge."""

    edge: Int[np.ndarray, " R"]
    face: Int[np.ndarray, " R"]
    is_end: Bool[np.ndarray, "R 3"]  # which of the triangle's corners are ends of the edge
    before: Float[np.ndarray, "R 3 3"]
    after: Float[np.ndarray, "R 3 3"]

    @property
    def vanishes(self) -> Bool[np.ndarray, " R"]:
        """Whether the triangle has both ends of the edge, so that the collapse removes it."""
        return self.is_end.sum(axis=1) == 2


def _rings(state: _State, edges: _Edges) -> _Rings:
    alive = np.flatnonzero(state.alive)
    corners = state.faces[alive].reshape(-1)
    order = np.argsort(corners, kind="stable")
    count = np.bincount(corners, minlength=len(state.points))
    start = np.cumsum(count) - count
    ends = edges.ends.reshape(-1)
    owner, number = expand_counts(count[ends])
    edge, face = owner // 2, alive[order[start[ends[owner]] + number] // 3]
    pair = np.unique(edge * len(state.faces) + face)
    edge, face = pair // len(state.faces), pair % len(state.faces)
    is_end = (state.faces[face][:, :, None] == edges.ends[edge][:, None]).any(axis=-1)
    before = state.points[state.faces[face]]
    after = np.where(is_end[..., None], edges.position[edge][:, None], before)
    return _Rings(edge, face, is_end, before, after)


def _preserves_mesh(state: _State, edges: _Edges, rings: _Rings) -> Bool[np.ndarray, " E"]:
    """Whether a collapse leaves some triangles and flips none. Merging vertices cannot disconnect a piece."""
    n_edges = len(edges.ends)
    remains = ~rings.vanishes
    cosine = (unit_normals(rings.before[remains]) * unit_normals(rings.after[remains])).sum(axis=-1)
    accepted = np.bincount(rings.edge[remains], minlength=n_edges) > 0
    accepted[rings.edge[remains][cosine < _MIN_TURN_COSINE]] = False
    return accepted


def _keeps_bound(
    state: _State, edges: _Edges, rings: _Rings, accepted: np.ndarray, original: Surface, bound: float
) -> tuple[Bool[np.ndarray, " E"], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Which collapses keep the bound, and the triangle to which each sample around them is assigned afterwards."""
    remains = ~rings.vanishes & accepted[rings.edge]
    new_samples = sample(rings.after[remains])
    distance, _ = original.nearest(new_samples.points, new_samples.normals)
    accepted = accepted.copy()
    accepted[rings.edge[remains][new_samples.faces[distance > bound]]] = False
    edge, samples, face, distance = _reassign_samples(state, rings, accepted)
    accepted[edge[distance > bound]] = False
    return accepted, (edge, samples, face)


def _reassign_samples(
    state: _State, rings: _Rings, accepted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the edge, the nearest remaining triangle and its distance for each sample that is assigned to a ring."""
    order = np.argsort(state.face_of_sample, kind="stable")
    count = np.bincount(state.face_of_sample, minlength=len(state.faces))
    start = np.cumsum(count) - count
    rows = np.flatnonzero(accepted[rings.edge])
    owner, number = expand_counts(count[rings.face[rows]])
    sample_edge = rings.edge[rows][owner]
    samples = order[start[rings.face[rows]][owner] + number]

    remaining = rows[~rings.vanishes[rows]]
    n_remaining = np.bincount(rings.edge[remaining], minlength=len(accepted))
    first_remaining = np.cumsum(n_remaining) - n_remaining
    pair, number = expand_counts(n_remaining[sample_edge])
    triangle = remaining[first_remaining[sample_edge[pair]] + number]
    normals = unit_normals(rings.after)[triangle]
    sample_rows = samples[pair]
    distance = squared_combined_distance(
        state.samples.points[sample_rows], state.samples.normals[sample_rows], rings.after[triangle], normals
    )
    least = np.full(len(samples), np.inf)
    np.minimum.at(least, pair, distance)
    best = np.zeros(len(samples), int)
    nearest = distance == least[pair]
    best[pair[nearest]] = rings.face[triangle[nearest]]
    return sample_edge, samples, best, np.sqrt(least)


def _apply(state: _State, edges: _Edges, rings: _Rings, accepted: np.ndarray, assigned: tuple[np.ndarray, ...]) -> None:
    """Applies the accepted collapses and the assignment of samples that belongs to them."""
    edge, samples, face = assigned
    state.face_of_sample[samples[accepted[edge]]] = face[accepted[edge]]
    state.alive[rings.face[rings.vanishes & accepted[rings.edge]]] = False
    kept, lost = edges.ends[accepted].T
    state.points[kept] = edges.position[accepted]
    state.quadric[kept] += state.quadric[lost]
    state.weight[kept] += state.weight[lost]
    target = np.arange(len(state.points))
    target[lost] = kept
    state.faces = target[state.faces]
