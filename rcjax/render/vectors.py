"""Vectors as three arrays each: what is computed with them is then one elementwise loop, without a small last axis."""

from collections.abc import Sequence

from jax import Array

Vector = tuple[Array, ...]
"""Three arrays: x, y, z, or red, green, blue."""


def minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
