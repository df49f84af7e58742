"""Batches of an expert's transitions: without replacement, in a new random order whenever it is used up."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Int, PRNGKeyArray

from rcjax.pytree import PyTree
from rcjax.types import Transitions


class ExpertOrder(PyTree):
    """A random order of the expert's transitions, and how many of them batches have taken since it was drawn."""

    order: Int[Array, " M"]
    taken: Int[Array, ""]


def new_order(key: PRNGKeyArray, n: int) -> ExpertOrder:
    """Returns a random order of `n` transitions. Consumes `key`."""
    return ExpertOrder(order=jax.random.permutation(key, n), taken=jnp.zeros((), jnp.int32))


def next_batch(
    key: PRNGKeyArray, expert: ExpertOrder, transitions: Transitions, n: int
) -> tuple[Transitions, ExpertOrder]:
    """Returns the next `n` transitions in the order. Where fewer are left, a new order is drawn first.

    So the last transitions of an order are left out if `n` does not divide their number, as in imitation. Consumes
    `key`.
    """
    size = expert.order.shape[0]
    used_up = expert.taken + n > size
    expert = jax.tree.map(lambda new, old: jnp.where(used_up, new, old), new_order(key, size), expert)
    index = jax.lax.dynamic_slice(expert.order, (expert.taken,), (n,))
    return jax.tree.map(lambda x: x[index], transitions), expert.replace(taken=expert.taken + n)
