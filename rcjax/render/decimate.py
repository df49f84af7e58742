"""Fewer triangles for a mesh, each step of which is held to a bound on the error.

Edges are collapsed in the order of their quadric error (Garland and Heckbert 1997), with quadrics for open borders as
for faces, many at a time where they do not touch each other. Triangles that were joined stay joined. A collapse is made
only if

* no triangle turns over, no strip between two borders is pinched, and no piece vanishes;
* all samples of the original surface for which the triangles stood that it removes or moves are within the bound of
  those that it leaves, and samples of those are within the bound of the original.

`rcjax.render.surface` says how distance is measured; a bound of 1 is the unit of length in here. Vertices on open
borders that nearly meet are joined as if there were an edge, so that what was cracked is zipped up, not torn.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from rcjax.render.surface import (
    Samples,
    Surface,
    areas,
    deviation,
    farthest,
    runs,
    sample,
    squared_offset,
    thinned,
    unit_normals,
)

_STAGES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # quadric errors up to which edges are collapsed, the harmless ones first
_PER_EDGE = 6  # samples along an edge of the original at most: what comes to stand for it has longer edges
_GAP = 0.25  # borders that are nearer to each other are joined
_LEAST_TURN = 0.3  # cosine of the angle by which one collapse may turn a triangle
_IDLE = 0.003  # a stage ends with a round that removes a smaller part of the triangles
_SMALL = 6.0  # pieces with a smaller diagonal may go if what remains stands for them
_BOUNDS = (0.95, 0.95, 0.8, 0.6)  # worked with in turn, until the result measures within 1


def decimate(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"], max_error: float
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "L 3"]]:
    """A mesh of few triangles that deviates from the given one by at most `max_error` (metres), both ways.

    The deviation is that of `measure`: it holds for samples, some 1.5 `max_error` apart and less where the original is
    finely divided. Vertices at one place become one, and triangles without area go, whatever the bound.
    """
    if max_error <= 0:
        raise ValueError(f"max_error={max_error}; expected metres above 0.")
    centre = vertices.mean(axis=0)
    whole_points, whole_faces = weld((vertices - centre) / max_error, faces)
    if not len(whole_faces):
        return vertices, faces
    original = Surface(whole_points[whole_faces])
    every = sample(original.corners)
    watched = thinned(sample(original.corners, _PER_EDGE))
    kept = drop_small_pieces(whole_points, whole_faces)
    for bound in _BOUNDS:
        points, fewer = _collapsed(whole_points, kept, original, watched, bound)
        shown = Surface(points[fewer])
        off, _ = shown.nearest(every.points, every.normals)
        if off.max() <= 1 and farthest(shown, original) <= 1:
            return _compact(points * max_error + centre, fewer)
        watched = Samples(*(np.concatenate([a, b[off > 1]]) for a, b in zip(watched, every, strict=True)))
    return _compact(whole_points * max_error + centre, whole_faces)


def measure(a: Float[np.ndarray, "K 3 3"], b: Float[np.ndarray, "L 3 3"], max_error: float) -> float:
    """Deviation of two surfaces in metres, sampled and weighed for an error of `max_error` metres."""
    return max_error * deviation(Surface(a / max_error), Surface(b / max_error))


def weld(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"]) -> tuple[np.ndarray, np.ndarray]:
    """One vertex for all at the same place, to 1e-5 of the unit; triangles without area and second copies go."""
    rounded = np.round(vertices * 1e5)
    _, first, place = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    points, faces = vertices[first], place.reshape(-1)[faces]
    faces = faces[areas(points[faces]) > 1e-10]
    turned = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    return _compact(points, np.unique(turned, axis=0))


def drop_small_pieces(points: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "K 3"]) -> Int[np.ndarray, "L 3"]:
    """The faces without those of small connected pieces that lie within the bound of the larger ones."""
    piece = _pieces(len(points), faces)[faces[:, 0]]
    numbers, piece = np.unique(piece, return_inverse=True)
    low, high = np.full((len(numbers), 3), np.inf), np.full((len(numbers), 3), -np.inf)
    for k in range(3):
        np.minimum.at(low, piece, points[faces[:, k]])
        np.maximum.at(high, piece, points[faces[:, k]])
    small = (np.linalg.norm(high - low, axis=-1) < _SMALL)[piece]
    if small.all() or not small.any():
        return faces
    tested = sample(points[faces[small]])
    off, _ = Surface(points[faces[~small]]).nearest(tested.points, tested.normals)
    needed = np.zeros(len(numbers), bool)
    needed[piece[small][tested.faces[off > 0.9]]] = True
    return faces[~small | needed[piece]]


def _pieces(n_points: int, faces: np.ndarray) -> Int[np.ndarray, " V"]:
    a, b = np.concatenate([faces[:, :2], faces[:, 1:]]).T
    return connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(n_points, n_points)), directed=False)[1]


def _compact(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used, faces = np.unique(faces, return_inverse=True)
    return points[used], faces.reshape(-1, 3)


@dataclasses.dataclass
class _State:
    """The mesh as it shrinks. Numbers of points and faces stay; faces that are gone are marked."""

    points: Float[np.ndarray, "V 3"]
    quadric: Float[np.ndarray, "V 4 4"]  # sum of squared distances to the planes that came together here, weighted
    weight: Float[np.ndarray, " V"]  # sum of those weights
    faces: Int[np.ndarray, "K 3"]
    alive: Bool[np.ndarray, " K"]
    samples: Samples  # of the original
    stands_for: Int[np.ndarray, " P"]  # the face that stands for each now


@dataclasses.dataclass
class _Edges:
    """Edges that may collapse, best first, each to one place."""

    ends: Int[np.ndarray, "E 2"]
    faces: Int[np.ndarray, " E"]  # triangles on the edge; 0 for two borders that nearly meet
    place: Float[np.ndarray, "E 3"]

    def take(self, rows) -> "_Edges":
        return _Edges(self.ends[rows], self.faces[rows], self.place[rows])


def _collapsed(points, faces, original: Surface, watched: Samples, bound: float) -> tuple[np.ndarray, np.ndarray]:
    state = _start(points, faces, watched)
    for tolerance in _STAGES:
        refused = np.zeros(0, np.int64)
        while True:
            edges = _candidates(state, tolerance, refused)
            chosen = _apart(state, edges)
            if not len(chosen.ends):
                break
            rings = _rings(state, chosen)
            good = _keeps_whole(state, chosen, rings)
            good, stands_for = _keeps_bound(state, chosen, rings, good, original, bound)
            refused = np.append(refused, _key(chosen.ends[~good], len(points)))
            _apply(state, chosen, rings, good, stands_for)
            if good.sum() < _IDLE * state.alive.sum() and tolerance < _STAGES[-1]:
                break
    return state.points, state.faces[state.alive]


def _start(points: np.ndarray, faces: np.ndarray, watched: Samples) -> _State:
    quadric, weight = _quadrics(points, faces)
    return _State(
        points=points.copy(),
        quadric=quadric,
        weight=weight,
        faces=faces.copy(),
        alive=np.ones(len(faces), bool),
        samples=watched,
        stands_for=Surface(points[faces]).nearest(watched.points, watched.normals)[1],
    )


def _quadrics(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each face, weighted by its area, at its corners; of the plane upright on each open edge, by its length."""
    normals, area = unit_normals(points[faces]), areas(points[faces])
    ends, count, face = _edges(faces, len(points))
    ends, face = ends[count == 1], face[count == 1]
    along = points[ends[:, 1]] - points[ends[:, 0]]
    upright = np.cross(along, normals[face])
    length = np.linalg.norm(along, axis=-1)
    upright /= np.maximum(np.linalg.norm(upright, axis=-1, keepdims=True), 1e-30)
    quadric, weight = np.zeros((len(points), 4, 4)), np.zeros(len(points))
    for at, normal, share in ((faces, normals, area), (ends, upright, length**2)):
        plane = np.concatenate([normal, -(normal * points[at[:, 0]]).sum(axis=-1, keepdims=True)], axis=-1)
        for corner in at.T:
            np.add.at(quadric, corner, share[:, None, None] * plane[:, :, None] * plane[:, None])
            np.add.at(weight, corner, share)
    return quadric, weight


def _edges(faces: np.ndarray, n_points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each edge's ends, how many triangles it has, and one of them."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    key, first, count = np.unique(pairs[:, 0] * n_points + pairs[:, 1], return_index=True, return_counts=True)
    return np.stack([key // n_points, key % n_points], axis=-1), count, first % len(faces)


def _candidates(state: _State, tolerance: float, refused: np.ndarray) -> _Edges:
    """Edges whose collapse costs no more than the tolerance, not refused before, the cheapest first."""
    n_points = len(state.points)
    ends, count, _ = _edges(state.faces[state.alive], n_points)
    border = np.zeros(n_points, bool)
    border[ends[count == 1]] = True
    near = _near_borders(state.points, np.flatnonzero(border))
    near = near[~np.isin(_key(near, n_points), _key(ends, n_points))]
    ends, count = np.concatenate([ends, near]), np.append(count, np.zeros(len(near), int))
    possible = (count < 2) | ~border[ends].all(axis=1)  # an inner edge between borders would pinch
    possible &= ~np.isin(_key(ends, n_points), refused)
    edges = _Edges(ends[possible], count[possible], np.zeros((possible.sum(), 3)))
    cost = _best_places(state, edges)
    order = np.argsort(_scattered(cost))
    return edges.take(order[cost[order] <= tolerance])


def _key(ends: np.ndarray, n_points: int) -> Int[np.ndarray, " E"]:
    return ends[:, 0] * n_points + ends[:, 1]


def _near_borders(points: np.ndarray, border: np.ndarray) -> Int[np.ndarray, "E 2"]:
    """Pairs of border vertices that lie within the gap, each with its few nearest."""
    if len(border) < 2:
        return np.zeros((0, 2), int)
    count = min(4, len(border))
    _, near = cKDTree(points[border]).query(points[border], k=count, distance_upper_bound=_GAP)
    a, b = np.broadcast_to(np.arange(len(border))[:, None], near.shape), near
    found = (b < len(border)) & (a != b)
    return np.unique(np.sort(np.stack([border[a[found]], border[b[found]]], axis=-1), axis=-1), axis=0)


def _best_places(state: _State, edges: _Edges) -> Float[np.ndarray, " E"]:
    """Set each edge's place to the one of least quadric error, and return that: a root mean square distance."""
    a, b = edges.ends.T
    quadric, weight = state.quadric[a] + state.quadric[b], np.maximum(state.weight[a] + state.weight[b], 1e-30)
    pull = 1e-3 * weight  # to the middle, where the planes leave the place open
    middle = (state.points[a] + state.points[b]) / 2
    matrix = quadric[:, :3, :3] + pull[:, None, None] * np.eye(3)
    edges.place = np.linalg.solve(matrix, (pull[:, None] * middle - quadric[:, :3, 3])[..., None])[..., 0]
    place = np.concatenate([edges.place, np.ones((len(a), 1))], axis=-1)
    return np.sqrt(np.maximum(np.einsum("ei,eij,ej->e", place, quadric, place), 0) / weight)


def _scattered(cost: np.ndarray) -> np.ndarray:
    """A key to sort by: costs within a factor of 1.4 in a fixed random order, so that many are best around them."""
    return np.round(2 * np.log2(cost + 1e-4)) + np.random.default_rng(len(cost)).random(len(cost))


def _apart(state: _State, edges: _Edges) -> _Edges:
    """Those that are the first of all that touch a triangle at one of their ends: no two share a triangle."""
    faces = state.faces[state.alive]
    rank = np.arange(len(edges.ends))
    of_point = np.full(len(state.points), len(rank))
    for end in edges.ends.T:
        np.minimum.at(of_point, end, rank)
    of_face = of_point[faces].min(axis=1)
    around = of_point.copy()
    for corner in faces.T:
        np.minimum.at(around, corner, of_face)
    return edges.take((around[edges.ends] == rank[:, None]).all(axis=1))


@dataclasses.dataclass
class _Rings:
    """The triangles at the ends of some edges, sorted by edge."""

    edge: Int[np.ndarray, " R"]
    face: Int[np.ndarray, " R"]
    moved: Bool[np.ndarray, "R 3"]  # which of its corners are ends
    before: Float[np.ndarray, "R 3 3"]
    after: Float[np.ndarray, "R 3 3"]

    @property
    def goes(self) -> Bool[np.ndarray, " R"]:
        """The triangle has both ends."""
        return self.moved.sum(axis=1) == 2


def _rings(state: _State, edges: _Edges) -> _Rings:
    alive = np.flatnonzero(state.alive)
    corners = state.faces[alive].reshape(-1)
    order = np.argsort(corners, kind="stable")
    count = np.bincount(corners, minlength=len(state.points))
    start = np.cumsum(count) - count
    ends = edges.ends.reshape(-1)
    owner, number = runs(count[ends])
    edge, face = owner // 2, alive[order[start[ends[owner]] + number] // 3]
    pair = np.unique(edge * len(state.faces) + face)
    edge, face = pair // len(state.faces), pair % len(state.faces)
    moved = (state.faces[face][:, :, None] == edges.ends[edge][:, None]).any(axis=-1)
    before = state.points[state.faces[face]]
    after = np.where(moved[..., None], edges.place[edge][:, None], before)
    return _Rings(edge, face, moved, before, after)


def _keeps_whole(state: _State, edges: _Edges, rings: _Rings) -> Bool[np.ndarray, " E"]:
    """Whether a collapse leaves some triangles and turns none over. Merging two vertices cannot part what is joined."""
    n_edges = len(edges.ends)
    stays = ~rings.goes
    turn = (unit_normals(rings.before[stays]) * unit_normals(rings.after[stays])).sum(axis=-1)
    good = np.bincount(rings.edge[stays], minlength=n_edges) > 0
    good[rings.edge[stays][turn < _LEAST_TURN]] = False
    return good


def _keeps_bound(
    state: _State, edges: _Edges, rings: _Rings, good: np.ndarray, original: Surface, bound: float
) -> tuple[Bool[np.ndarray, " E"], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Which collapses keep the bound; for the samples round each, the triangle that stands for them afterwards."""
    stays = ~rings.goes & good[rings.edge]
    tested = sample(rings.after[stays])
    off, _ = original.nearest(tested.points, tested.normals)
    good = good.copy()
    good[rings.edge[stays][tested.faces[off > bound]]] = False
    edge, samples, face, off = _restand(state, rings, good)
    good[edge[off > bound]] = False
    return good, (edge, samples, face)


def _restand(state: _State, rings: _Rings, good: np.ndarray):
    """For each sample that stands by a triangle of a ring: its edge, the nearest triangle that stays, and how far."""
    order = np.argsort(state.stands_for, kind="stable")
    count = np.bincount(state.stands_for, minlength=len(state.faces))
    start = np.cumsum(count) - count
    part = np.flatnonzero(good[rings.edge])
    owner, number = runs(count[rings.face[part]])
    sample_edge = rings.edge[part][owner]
    samples = order[start[rings.face[part]][owner] + number]

    stay = part[~rings.goes[part]]
    n_stay = np.bincount(rings.edge[stay], minlength=len(good))
    first_stay = np.cumsum(n_stay) - n_stay
    pair, number = runs(n_stay[sample_edge])
    triangle = stay[first_stay[sample_edge[pair]] + number]
    normals = unit_normals(rings.after)[triangle]
    row = samples[pair]
    off = squared_offset(state.samples.points[row], state.samples.normals[row], rings.after[triangle], normals)
    least = np.full(len(samples), np.inf)
    np.minimum.at(least, pair, off)
    best = np.zeros(len(samples), int)
    nearest = off == least[pair]
    best[pair[nearest]] = rings.face[triangle[nearest]]
    return sample_edge, samples, best, np.sqrt(least)


def _apply(state: _State, edges: _Edges, rings: _Rings, good: np.ndarray, stands_for) -> None:
    edge, samples, face = stands_for
    state.stands_for[samples[good[edge]]] = face[good[edge]]
    state.alive[rings.face[rings.goes & good[rings.edge]]] = False
    kept, lost = edges.ends[good].T
    state.points[kept] = edges.place[good]
    state.quadric[kept] += state.quadric[lost]
    state.weight[kept] += state.weight[lost]
    target = np.arange(len(state.points))
    target[lost] = kept
    state.faces = target[state.faces]
