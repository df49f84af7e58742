"""Vectors as three arrays each, so that XLA fuses arithmetic with them into one loop without a small last axis."""

from collections.abc import Sequence

from jax import Array

Vector = tuple[Array, ...]
"""Three arrays: x, y, z, or red, green, blue."""


def minus(a: Vector, b: Vector) -> Vector:
    """The difference a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Sequence[Array], b: Sequence[Array]) -> Array:
    """Dot product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Cross product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
