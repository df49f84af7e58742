"""Clusters of triangles and the depth keys of their pixels, as every tile loop of the rasteriser computes them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

CLUSTER = 16  # triangles; a power of two, since the lowest bits of a depth key are the triangle's number in its cluster
WORD = 32  # clusters (bits) per word of a tile's mask
LANE_MASK = CLUSTER - 1


def depth_keys(
    edge_functions: Sequence[Float[Array, "*pixels"]],
    lane: Int[Array, "*pixels"] | int,
    near: Float[Array, ""],
    depth_bias: Float[Array, "*pixels"] | None,
    key_limit: Int[Array, "*pixels"] | None,
) -> Int[Array, "*pixels"]:
    """Returns the depth keys of triangles where they are visible, and -1 elsewhere.

    Args:
        edge_functions: The triangles' three edge functions at each pixel.
        lane: The triangles' numbers in their clusters.
        near: Depth in metres before which nothing is drawn.
        depth_bias: What is subtracted from the inverse depths, if anything.
        key_limit: Depth keys that must not be reached, if any.
    """
    e0, e1, e2 = edge_functions
    inverse_depth = e0 + e1 + e2
    visible = (jnp.minimum(jnp.minimum(e0, e1), e2) >= 0) & (inverse_depth * near <= 1)
    if depth_bias is not None:
        inverse_depth = jnp.maximum(inverse_depth - depth_bias, 0.0)
    bits = jax.lax.bitcast_convert_type(inverse_depth, jnp.int32)
    keys = jnp.where(visible, (bits & ~LANE_MASK) | lane, -1)
    return keys if key_limit is None else jnp.where(keys < key_limit, keys, -1)
