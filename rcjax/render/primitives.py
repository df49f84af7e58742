"""Triangles of MuJoCo's primitive shapes, made from unit shapes scaled to size. Host, NumPy."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from rcjax.render.surface import areas


class Triangles(NamedTuple):
    """K triangles of one geom, counter-clockwise when seen from outside.

    `unit` holds the corners of MuJoCo's unit shape before scaling, from which it makes texture coordinates. For
    primitives these are the corners divided by the geom's size. A capsule's body and its two caps are scaled
    separately, with the caps as half spheres centred at z = 1 and z = -1. The infinite side of a plane, and a mesh,
    are not scaled: their `unit` is in metres.
    """

    corners: Float[np.ndarray, "K 3 3"]  # metres, in the geom's frame
    normals: Float[np.ndarray, "K 3 3"]  # unit vectors at the corners
    unit: Float[np.ndarray, "K 3 3"]  # the corners before scaling
    uv: Float[np.ndarray, "K 3 2"]  # the mesh's own texture coordinates; zeros if it has none


def plane(half: Float[np.ndarray, " 2"], infinite_half_side: float) -> Triangles:
    """A rectangle facing +z. Where `half` is 0 the plane is infinite, and is cut off at `infinite_half_side` metres."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    shape = _quads(corners[None], np.broadcast_to([0.0, 0.0, 1.0], (1, 4, 3)))
    size = np.append(np.where(half > 0, half, infinite_half_side), 1.0)
    unit_scale = np.append(np.where(half > 0, 1.0, infinite_half_side), 1.0)
    return _scaled(shape, size)._replace(unit=shape.unit * unit_scale)


def box(half: Float[np.ndarray, " 3"], quads: int = 1) -> Triangles:
    """A box, given its half sides in metres, and the number of quads along each side of its faces."""
    return _scaled(_unit_box(quads), half)


def ellipsoid(radii: Float[np.ndarray, " 3"], segments: int) -> Triangles:
    """An ellipsoid, given its radii in metres and the number of facets around a full circle."""
    return _scaled(_unit_sphere(segments), radii)


def cylinder(radius: float, half_length: float, segments: int) -> Triangles:
    """A cylinder along z, with `segments` facets around the circle. Lengths in metres."""
    return _scaled(_unit_cylinder(segments), np.array([radius, radius, half_length]))


def capsule(radius: float, half_length: float, segments: int) -> Triangles:
    """A capsule along z: a cylinder of the given half length with a half sphere on each end. Lengths in metres."""
    parts = [_scaled(_unit_wall(segments), np.array([radius, radius, half_length]))] if half_length > 0 else []
    for sign in (-1.0, 1.0):
        start, stop = sorted((0.0, sign * np.pi / 2))
        arc = _arc(start, stop, segments)
        cap = _scaled(_surface_of_revolution(arc[:, 0], arc[:, 1], arc, segments), np.full(3, radius))
        up = sign * np.array([0.0, 0.0, 1.0])
        parts.append(cap._replace(corners=cap.corners + half_length * up, unit=cap.unit + up))
    return _join(*parts)


def normalise(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
    """Scales vectors to length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _quads(corners: Float[np.ndarray, "Q 4 3"], normals: Float[np.ndarray, "Q 4 3"]) -> Triangles:
    """Two triangles for each quad of a unit shape."""
    split = np.array([[0, 1, 2], [0, 2, 3]])
    unit = corners[:, split].reshape(-1, 3, 3)
    return Triangles(unit, normals[:, split].reshape(-1, 3, 3), unit, np.zeros((len(unit), 3, 2)))


def _join(*parts: Triangles) -> Triangles:
    """Concatenates triangles and drops those without area."""
    joined = Triangles(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    keep = areas(joined.corners) > 0
    return Triangles(*(array[keep] for array in joined))


def _scaled(shape: Triangles, size: Float[np.ndarray, " 3"]) -> Triangles:
    return shape._replace(corners=shape.corners * size, normals=normalise(shape.normals / size))


def _unit_box(quads: int) -> Triangles:
    corners, normals = [], []
    ends = np.linspace(-1, 1, quads + 1)
    tiles = [(a, b, c, d) for a, b in pairwise(ends) for c, d in pairwise(ends)]
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, u, v = np.zeros(3), np.zeros(3), np.zeros(3)
            normal[axis], u[(axis + 1) % 3], v[(axis + 2) % 3] = sign, sign, 1.0
            for a, b, c, d in tiles:
                corners.append([normal + x * u + y * v for x, y in ((a, c), (b, c), (b, d), (a, d))])
                normals.append([normal] * 4)
    return _quads(np.array(corners), np.array(normals))


def _surface_of_revolution(radius: np.ndarray, height: np.ndarray, slope: np.ndarray, segments: int) -> Triangles:
    """Revolves a profile [P] of increasing height about z; `slope` [P 2] is its normal as (radial, z)."""
    angle = 2 * np.pi * np.arange(segments + 1) / segments
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = np.concatenate(
        [radius[:, None, None] * circle, np.broadcast_to(height[:, None, None], (len(radius), segments + 1, 1))], -1
    )
    normals = np.concatenate(
        [slope[:, :1, None] * circle, np.broadcast_to(slope[:, 1:, None], (len(radius), segments + 1, 1))], -1
    )

    def quads(grid):
        arc = [grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]]
        return np.stack(arc, axis=2).reshape(-1, 4, 3)

    return _join(_quads(quads(points), quads(normals)))


def _arc(start: float, stop: float, segments: int) -> np.ndarray:
    """(cosine, sine) of latitudes from start to stop, about as far apart as the facets around the equator."""
    count = max(2, round(segments * (stop - start) / (2 * np.pi)))
    latitude = np.linspace(start, stop, count + 1)
    arc = np.stack([np.cos(latitude), np.sin(latitude)], axis=-1)
    arc[np.abs(arc) < 1e-12] = 0.0
    return arc


def _unit_sphere(segments: int) -> Triangles:
    arc = _arc(-np.pi / 2, np.pi / 2, segments)
    return _surface_of_revolution(arc[:, 0], arc[:, 1], arc, segments)


def _unit_wall(segments: int) -> Triangles:
    """A cylinder without discs at its ends."""
    return _surface_of_revolution(np.ones(2), np.array([-1.0, 1.0]), np.array([[1.0, 0.0]] * 2), segments)


def _unit_cylinder(segments: int) -> Triangles:
    disc = np.array([1.0, 0.0])
    top = _surface_of_revolution(disc, np.ones(2), np.array([[0.0, 1.0]] * 2), segments)
    bottom = _surface_of_revolution(disc[::-1], -np.ones(2), np.array([[0.0, -1.0]] * 2), segments)
    return _join(_unit_wall(segments), top, bottom)
