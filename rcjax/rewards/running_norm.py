"""Running normalisation, as the discriminators of GAIL and AIRL apply it to their inputs."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.moments import merge_batch
from rcjax.pytree import PyTree

EPSILON = 1e-5  # added to the variance, as in imitation's `RunningNorm`


class RunningNorm(PyTree):
    """The mean and population variance of all samples so far, and their number."""

    mean: Float[Array, " O"]
    var: Float[Array, " O"]
    count: Float[Array, ""]


def new_norm(size: int) -> RunningNorm:
    """Returns the statistics of no samples, which scale inputs of `size` numbers by 1/sqrt(1 + epsilon)."""
    return RunningNorm(mean=jnp.zeros(size), var=jnp.ones(size), count=jnp.zeros(()))


def update_norm(norm: RunningNorm, batch: Float[Array, "B O"]) -> RunningNorm:
    """Returns the statistics of the earlier samples and of the batch."""
    mean, var, count = merge_batch((norm.mean, norm.var, norm.count), batch)
    return RunningNorm(mean=mean, var=var, count=count)


def normalize(norm: RunningNorm, x: Float[Array, "*B O"]) -> Float[Array, "*B O"]:
    """Returns `x` shifted and scaled to mean 0 and variance 1 by the statistics."""
    return (x - norm.mean) / jnp.sqrt(norm.var + EPSILON)
