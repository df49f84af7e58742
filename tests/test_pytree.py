"""The base class of states. Oracles: dataclasses' own rules, and what JAX's transformations return."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from jaxtyping import Float

from rcjax.pytree import PyTree


class Point(PyTree):
    x: Float[Array, ""]
    y: Float[Array, ""]


class Labelled(Point):
    label: Float[Array, ""] | None = None


POINT = Point(x=jnp.array(1.0), y=jnp.array(2.0))


def test_constructor_takes_exactly_the_fields_by_keyword():
    with pytest.raises(TypeError):
        Point(jnp.array(1.0), jnp.array(2.0))  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="missing"):
        Point(x=jnp.array(1.0))  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="z"):
        Point(x=jnp.array(1.0), y=jnp.array(2.0), z=3)  # pyright: ignore[reportCallIssue]


def test_instances_are_frozen_and_replace_makes_copies():
    with pytest.raises(dataclasses.FrozenInstanceError):
        POINT.x = jnp.array(3.0)  # pyright: ignore[reportAttributeAccessIssue]
    moved = POINT.replace(x=jnp.array(3.0))
    assert (float(moved.x), float(moved.y), float(POINT.x)) == (3.0, 2.0, 1.0)
    with pytest.raises(TypeError, match="z"):
        POINT.replace(z=1)


def test_transformations_rebuild_instances():
    points = Point(x=jnp.arange(3.0), y=jnp.ones(3))
    doubled = jax.jit(jax.vmap(lambda point: point.replace(x=2 * point.x)))(points)
    assert isinstance(doubled, Point)
    np.testing.assert_array_equal(doubled.x, [0, 2, 4])
    total, _ = jax.lax.scan(lambda carry, point: (jax.tree.map(jnp.add, carry, point), None), POINT, points)
    assert (float(total.x), float(total.y)) == (4.0, 5.0)


def test_children_are_named_by_their_fields():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(POINT)]
    assert paths == [".x", ".y"]


def test_of_leaves_holds_anything_and_fills_in_defaults():
    named = Labelled.of_leaves(x="first", y=np.zeros(3))
    assert named.x == "first" and named.label is None
    with pytest.raises(TypeError, match="missing 'y'"):
        Point.of_leaves(x=1)
    with pytest.raises(TypeError, match="z"):
        Point.of_leaves(x=1, y=2, z=3)
