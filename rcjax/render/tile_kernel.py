"""The rasteriser's inner loop as one GPU kernel, written in Pallas for Triton.

XLA's version (`rcjax.render.raster`) launches a few kernels for every round over a chunk of tiles, and asks after each
round on the host whether another is needed. Here every tile is one program of the kernel, which walks its own mask.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Float, Int, UInt32

from rcjax.render.clusters import CLUSTER, WORD, depth_keys


def nearest_fragments(
    masks: UInt32[Array, "C words"],
    edges: Float[Array, "R 3 3 B"],
    depth_bias: Float[Array, "R B"] | None,
    first_cluster: Int[Array, " C"],
    origin: Float[Array, "C 2"],
    samples: Float[Array, "2 pixels"],
    base_key: Int[Array, "C pixels"],
    key_limit: Int[Array, "C pixels"] | None,
    near: Float[Array, ""],
    *,
    interpret: bool = False,
) -> tuple[Int[Array, "C pixels"], Int[Array, "C pixels"]]:
    """Returns the depth key and the cluster (-1: the base) of the nearest fragment at each pixel of C tiles.

    Args:
        masks: Which clusters to draw on each tile, a bit for each.
        edges: Coefficients of the edge functions of each cluster's triangles; B is `CLUSTER`.
        depth_bias: What is subtracted from each triangle's inverse depth, if anything.
        first_cluster: The row in `edges` of the cluster that a mask's lowest bit stands for.
        origin: Column and row of each tile's first pixel.
        samples: Columns and rows of the samples, relative to `origin`.
        base_key: Depth keys that have to be exceeded.
        key_limit: Depth keys that must not be reached, if any.
        near: Depth in metres before which nothing is drawn.
        interpret: Whether to run the kernel as ordinary JAX operations, on any backend, for tests.
    """
    options = {"depth_bias": depth_bias, "key_limit": key_limit}
    given = {name: array for name, array in options.items() if array is not None}
    inputs = {
        "masks": jax.lax.bitcast_convert_type(masks, jnp.int32),
        "edges": edges,
        "first_cluster": first_cluster,
        "origin": origin,
        "samples": samples,
        "base_key": base_key,
        "near": near.reshape(1),
        **given,
    }

    def kernel(*refs):
        *input_refs, key_ref, cluster_ref = refs
        _draw_tile(dict(zip(inputs, input_refs, strict=True)), key_ref, cluster_ref)

    shape = jax.ShapeDtypeStruct(base_key.shape, jnp.int32)
    key, cluster = pl.pallas_call(
        kernel,
        grid=(masks.shape[0],),
        out_shape=(shape, shape),
        compiler_params=triton.CompilerParams(num_warps=1, num_stages=1),
        interpret=interpret,
        name="nearest_fragments",
    )(*inputs.values())
    return key, cluster


def _draw_tile(refs, key_ref, cluster_ref):
    """Draws the clusters of one tile's mask, from the lowest bit to the highest."""
    tile = pl.program_id(0)
    n_words = refs["masks"].shape[1]
    origin = refs["origin"][tile, 0], refs["origin"][tile, 1]
    samples = refs["samples"][0, :], refs["samples"][1, :]
    near, first_cluster = refs["near"][0], refs["first_cluster"][tile]
    key_limit = refs["key_limit"][tile, :] if "key_limit" in refs else None
    base_key = refs["base_key"][tile, :]

    def one_word(word, nearest):
        def one_cluster(state):
            mask, key, cluster = state
            number = word * WORD + jax.lax.population_count((mask & -mask) - 1)
            row = first_cluster + number
            for lane in range(CLUSTER):
                edge_functions = _edge_functions(refs["edges"], row, lane, origin, samples)
                depth_bias = refs["depth_bias"][row, lane] if "depth_bias" in refs else None
                new = depth_keys(edge_functions, lane, near, depth_bias, key_limit)
                nearer = new > key
                key, cluster = jnp.where(nearer, new, key), jnp.where(nearer, number, cluster)
            return mask & (mask - 1), key, cluster

        return jax.lax.while_loop(lambda state: state[0] != 0, one_cluster, (refs["masks"][tile, word], *nearest))[1:]

    key_ref[tile, :], cluster_ref[tile, :] = jax.lax.fori_loop(
        0, n_words, one_word, (base_key, jnp.full_like(base_key, -1))
    )


def _edge_functions(edges, row, lane, origin, samples):
    """The three edge functions of a triangle at each of a tile's pixels, rounded as in `rcjax.render.raster`."""

    def edge_function(edge):
        slope_x, slope_y, constant = (edges[row, edge, axis, lane] for axis in range(3))
        constant = constant + slope_x * origin[0] + slope_y * origin[1]
        return slope_x * samples[0] + slope_y * samples[1] + constant

    return [edge_function(edge) for edge in range(3)]
