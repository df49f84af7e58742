"""Running means and variances, of which new samples change both."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Moments = tuple[Float[Array, "*O"], Float[Array, "*O"], Float[Array, ""]]
"""The mean and population variance of samples, and their number"""


def merge_batch(moments: Moments, batch: Float[Array, "B *O"]) -> Moments:
    """Returns the moments of the earlier samples and of the batch.

    Source: Chan et al. 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """
    mean, var, count = moments
    n_new = batch.shape[0]
    total = count + n_new
    delta = jnp.mean(batch, axis=0) - mean
    squares = var * count + jnp.var(batch, axis=0) * n_new + delta**2 * count * n_new / total
    return mean + delta * n_new / total, squares / total, total
