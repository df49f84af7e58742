"""The rasteriser's inner loop as one TPU kernel, written in Pallas for Mosaic.

A vector register of a TPU has 8 x 128 numbers. Here it holds a tile of 8 x 8 pixels for each of a cluster's 16
triangles: lane 8 t + x of row y is the pixel (x, y) seen by triangle t. A cluster is then tested on a tile by a few
dozen vector instructions, whose operands are rows of a table in which every coefficient is repeated for the eight
pixels of a row. Each triangle's place in the register keeps the nearest fragment of its own, and the 16 places are
compared once a tile is finished. Two fragments with equal depth keys have the same place, since a key ends in the
number of the triangle, so that ties are decided as in `rcjax.render.raster`.

Tiles come in groups of 16 of one image, because the results of 16 tiles fill whole registers: lane 8 g + x of row y
is the pixel (x, y) of the group's tile g.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Float, Int, Shaped, UInt32

from rcjax.render.clusters import CLUSTER, WORD, depth_keys

GROUP = 16  # tiles; as many as a cluster has triangles, so that both fill a register
SIDE = 8  # rows and columns of a tile; a register's rows, and lanes per place
LANES = 128
UNROLL = 2  # clusters per turn of the inner loop
_EDGE_ROWS = 9  # coefficients of a triangle's edge functions
_TABLE_BYTES = 10 << 20  # of the 16 MiB of fast memory (VMEM) that a kernel is given on every TPU by default
_SMEM_TILE = 1024  # words; blocks of flat arrays in SMEM are multiples of it


def table_fits(n_clusters: int, has_depth_bias: bool, n_varyings: int) -> bool:
    """Whether the table of an image with this many clusters fits a core's fast memory."""
    n_rows = _EDGE_ROWS + has_depth_bias + n_varyings
    return n_clusters * (n_rows + n_rows % 2) * LANES * 4 <= _TABLE_BYTES


def triangle_table(
    edges: Float[Array, "J K 3 3 B"],
    depth_bias: Float[Array, "J K B"] | None,
    varyings: Float[Array, "J K A B"] | None,
) -> Float[Array, "J rows 128"]:
    """Returns what the kernel reads of each image's triangles, eight clusters side by side.

    Cluster k's number i of triangle t is in row (k // 8) n + i, lane 8 t + k % 8, where n counts a triangle's numbers:
    nine coefficients of the edge functions, the depth bias and the varyings, if any, and a 0 if they are odd in number.
    """
    j, k, *_, b = edges.shape
    parts = [edges.reshape(j, k, _EDGE_ROWS, b)]
    parts += [] if depth_bias is None else [depth_bias[:, :, None]]
    parts += [] if varyings is None else [varyings]
    if sum(part.shape[2] for part in parts) % 2:  # the rows of 32 clusters then fill registers
        parts.append(jnp.zeros_like(parts[0][:, :, :1]))
    numbers = jnp.concatenate(parts, axis=2)
    side_by_side = numbers.reshape(j, k // SIDE, SIDE, -1, b).transpose(0, 1, 3, 4, 2)
    return side_by_side.reshape(j, -1, b * SIDE)


def nearest_fragments(
    table: Float[Array, "J rows 128"],
    image: Int[Array, " G"],
    masks: UInt32[Array, "G 16 words"],
    origin: Int[Array, "G 16 2"],
    samples: Float[Array, "2 8 128"],
    base_key: Int[Array, "G 8 128"],
    key_limit: Int[Array, "G 8 128"] | None,
    near: Float[Array, ""],
    *,
    has_depth_bias: bool,
    n_varyings: int,
    interpret: bool = False,
) -> list[Shaped[Array, "G 8 128"]]:
    """Returns the depth key, the cluster (-1: the base) and each varying of the nearest fragment at each pixel.

    Args:
        table: The images' triangles, see `triangle_table`.
        image: The image of each group of tiles. Groups of one image should follow one another.
        masks: Which clusters to draw on each tile, a bit for each.
        origin: Column and row of each tile's first pixel.
        samples: Columns and rows of a tile's samples, relative to `origin`, repeated for each place.
        base_key: Depth keys that have to be exceeded.
        key_limit: Depth keys that must not be reached, if any.
        near: Depth in metres before which nothing is drawn.
        has_depth_bias: Whether the table has a depth bias.
        n_varyings: Number of varyings in the table.
        interpret: Whether to run the kernel as ordinary JAX operations, on any backend, for tests.
    """
    n_groups, _, n_words = masks.shape
    n_rows = table.shape[1] * SIDE // (n_words * WORD)
    n_values = 2 + n_varyings
    jobs = _pack_jobs(masks, origin)

    def of_group(g, image):
        del image
        return g, 0, 0

    pixels = pl.BlockSpec((1, SIDE, LANES), of_group)
    given = {
        "jobs": (jobs, pl.BlockSpec((jobs.size // n_groups,), lambda g, image: (g,), memory_space=pltpu.SMEM)),
        "near": (near.reshape(1), pl.BlockSpec(memory_space=pltpu.SMEM)),
        "table": (table, pl.BlockSpec((1, *table.shape[1:]), lambda g, image: (image[g], 0, 0))),
        "samples": (samples, pl.BlockSpec((2, SIDE, LANES), lambda g, image: (0, 0, 0))),
        "base_key": (base_key, pixels),
    }
    if key_limit is not None:
        given["key_limit"] = (key_limit, pixels)
    layout = _Layout(n_words, n_rows, has_depth_bias, n_values)

    def kernel(image, *refs):
        named = dict(zip([*given, "values", "expanded", "spread", "places"], refs, strict=True))
        _draw_group(layout, image, named)

    values = pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(n_groups,),
            in_specs=[spec for _, spec in given.values()],
            out_specs=pl.BlockSpec((n_values, 1, SIDE, LANES), lambda g, image: (0, g, 0, 0)),
            scratch_shapes=[
                pltpu.VMEM((SIDE * table.shape[1], LANES), jnp.float32),
                pltpu.VMEM((2, GROUP, SIDE, LANES), jnp.int32),
                pltpu.VMEM((n_values, GROUP, SIDE, LANES), jnp.int32),
            ],
        ),
        out_shape=jax.ShapeDtypeStruct((n_values, n_groups, SIDE, LANES), jnp.int32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",)),
        interpret=interpret,
        name="nearest_fragments",
    )(image, *(array for array, _ in given.values()))
    varyings = jax.lax.bitcast_convert_type(values[2:], jnp.float32)
    return [values[0], values[1], *(varyings[i] for i in range(n_values - 2))]


class _Layout:
    """Where the kernel finds what, in numbers that are known when it is compiled."""

    def __init__(self, n_words: int, n_rows: int, has_depth_bias: bool, n_values: int):
        self.n_words = n_words
        self.n_summaries = -(-n_words // WORD)
        self.n_rows = n_rows  # of a cluster, in the table
        self.has_depth_bias = has_depth_bias
        self.n_values = n_values  # results: depth key, cluster, varyings
        self.job_size = n_words + self.n_summaries + 2


def _pack_jobs(masks: UInt32[Array, "G 16 words"], origin: Int[Array, "G 16 2"]) -> Int[Array, " numbers"]:
    """Returns, for each tile, its mask's words, a bit for each word that is not 0, and its origin.

    The array is flat, as indexing two axes in SMEM costs scalar instructions.
    """
    n_groups, _, n_words = masks.shape
    is_set = jnp.pad(masks != 0, ((0, 0), (0, 0), (0, -n_words % WORD)))
    bits = is_set.reshape(n_groups, GROUP, -1, WORD).astype(jnp.uint32) << jnp.arange(WORD, dtype=jnp.uint32)
    summary = bits.sum(axis=-1, dtype=jnp.uint32)
    words = jax.lax.bitcast_convert_type(jnp.concatenate([masks, summary], axis=-1), jnp.int32)
    jobs = jnp.concatenate([words, origin], axis=-1).reshape(n_groups, -1)
    return jnp.pad(jobs, ((0, 0), (0, -jobs.shape[1] % _SMEM_TILE))).reshape(-1)


def _draw_group(layout: _Layout, image, refs):
    """Draws the 16 tiles of a group, and writes the results of all their pixels."""
    group = pl.program_id(0)

    @pl.when((group == 0) | (image[group] != image[jnp.maximum(group - 1, 0)]))
    def _():
        _expand_table(refs["table"], refs["expanded"])

    limits = [name for name in ("base_key", "key_limit") if name in refs]
    for i, name in enumerate(limits):
        for tile, keys in enumerate(_spread(refs[name][0])):
            refs["spread"][i, tile] = keys

    def one_tile(tile, _):
        for value, places in enumerate(_draw_tile(layout, tile, refs)):
            refs["places"][value, tile] = jax.lax.bitcast_convert_type(places, jnp.int32)
        return 0

    jax.lax.fori_loop(0, GROUP, one_tile, 0)
    _write_nearest(refs["places"], refs["values"])


def _expand_table(table, expanded):
    """Repeats every number of the table for eight pixels: cluster k's rows go to part k % 8."""
    n_rows = table.shape[1]

    def eight_rows(i, _):
        start = pl.multiple_of(i * SIDE, SIDE)
        parts = [table[0, pl.ds(start, SIDE), :]]
        for step in (4, 2, 1):
            parts = [half for part in parts for half in _halves(part, step)]
        for number, part in enumerate(parts):
            expanded[pl.ds(number * n_rows + start, SIDE), :] = part
        return 0

    jax.lax.fori_loop(0, n_rows // SIDE, eight_rows, 0)


def _halves(register: Array, step: int) -> tuple[Array, Array]:
    """Repeats the lanes without, and those with, the bit `step` in their number in place of the others."""
    has_bit = (_lane() & step) != 0
    return (
        jnp.where(has_bit, _from_below(register, step), register),
        jnp.where(has_bit, register, _from_above(register, step)),
    )


def _lane() -> Int[Array, "8 128"]:
    return jax.lax.broadcasted_iota(jnp.int32, (SIDE, LANES), 1)


def _from_below(register: Array, step: int) -> Array:
    """Moves each lane's number up by `step` lanes, in a circle."""
    return pltpu.roll(register, step, 1)


def _from_above(register: Array, step: int) -> Array:
    """Moves each lane's number down by `step` lanes, in a circle."""
    return pltpu.roll(register, LANES - step, 1)


def _spread(keys: Int[Array, "8 128"]) -> list[Array]:
    """Returns a register for each tile of a group, with the tile's pixels repeated for each place."""
    parts = [keys]
    for step in (64, 32, 16, 8):
        has_bit = (_lane() & step) != 0
        moved = [_from_above(part, step) for part in parts]  # or from below: parts repeat after 2 * step lanes
        pairs = list(zip(parts, moved, strict=True))
        parts = [h for a, b in pairs for h in (jnp.where(has_bit, b, a), jnp.where(has_bit, a, b))]
    return parts


def _draw_tile(layout: _Layout, tile, refs) -> list[Array]:
    """Draws the clusters of a tile's mask, from the lowest bit to the highest, and returns each place's results."""
    row = tile * layout.job_size
    jobs = refs["jobs"]
    origin = [jobs[row + layout.n_words + layout.n_summaries + axis].astype(jnp.float32) for axis in (0, 1)]
    base_key = refs["spread"][0, tile]
    key_limit = refs["spread"][1, tile] if "key_limit" in refs else None
    n_varyings = layout.n_values - 2
    nearest = (base_key, jnp.full_like(base_key, -1), *[jnp.zeros((SIDE, LANES), jnp.float32)] * n_varyings)

    for summary in range(layout.n_summaries):

        def next_clusters(state, summary=summary):
            return _next_clusters(jobs, row + summary * WORD, summary * WORD, state)

        def one_turn(state, next_clusters=next_clusters):
            _, clusters, bits, nearest = state
            for cluster in clusters:
                nearest = _draw_cluster(layout, cluster, origin, key_limit, nearest, refs)
            return *next_clusters(bits), nearest

        bits = jobs[row + layout.n_words + summary], jnp.int32(0), jnp.int32(0)
        *_, nearest = jax.lax.while_loop(lambda state: state[0], one_turn, (*next_clusters(bits), nearest))
    return list(nearest)


def _next_clusters(jobs, row, first_word: int, bits):
    """Takes the next clusters from a tile's mask, before those of this turn are drawn, so that both overlap.

    `bits` are the words yet to come, what is left of the current word, and the cluster of its lowest bit. Returns
    whether there is a cluster, `UNROLL` clusters (the last one is repeated if there are fewer in this word: drawing a
    cluster twice changes nothing), and the bits that are left.
    """
    words, mask, first = bits
    word = jnp.maximum(_lowest_bit(words), 0)
    loaded = jnp.where(words != 0, jobs[row + word], 0)
    is_empty = mask == 0
    mask = jnp.where(is_empty, loaded, mask)
    first = jnp.where(is_empty, (first_word + word) * WORD, first)
    words = jnp.where(is_empty, words & (words - 1), words)
    found, clusters = mask != 0, []
    for _ in range(UNROLL):
        latest = clusters[-1] if clusters else first
        clusters.append(jnp.where(mask != 0, first + _lowest_bit(mask), latest))
        mask = mask & (mask - 1)
    return found, tuple(clusters), (words, mask, first)


def _lowest_bit(word):
    """The number of the lowest bit that is set, -1 if none is."""
    return 31 - jax.lax.clz(word & -word)


def _draw_cluster(layout: _Layout, cluster, origin, key_limit, nearest, refs):
    """Replaces the nearest fragments' depth keys, clusters and varyings where a cluster's fragments are nearer."""
    n_table_rows = refs["table"].shape[1]
    start = (cluster & (SIDE - 1)) * n_table_rows + (cluster >> 3) * layout.n_rows
    x, y = refs["samples"][0], refs["samples"][1]

    def number(i: int) -> Array:
        return jnp.broadcast_to(refs["expanded"][pl.ds(start + i, 1), :], (SIDE, LANES))

    def edge_function(edge: int) -> Array:
        slope_x, slope_y, constant = (number(3 * edge + axis) for axis in range(3))
        constant = constant + slope_x * origin[0] + slope_y * origin[1]
        return slope_x * x + slope_y * y + constant

    depth_bias = number(_EDGE_ROWS) if layout.has_depth_bias else None
    edge_functions = [edge_function(edge) for edge in range(3)]
    keys = depth_keys(edge_functions, _lane() >> 3, refs["near"][0], depth_bias, key_limit)
    depth_key, nearest_cluster, *varyings = nearest
    nearer = keys > depth_key
    first = _EDGE_ROWS + layout.has_depth_bias
    varyings = [jnp.where(nearer, number(first + i), value) for i, value in enumerate(varyings)]
    return jnp.where(nearer, keys, depth_key), jnp.where(nearer, cluster, nearest_cluster), *varyings


def _write_nearest(places, values):
    """Compares the 16 places of each pixel, and writes the values [V 1 8 128] of the nearest from all [V 16 8 128].

    Where no fragment is nearer than the base, all places have its key, and cluster -1. Else one place alone has the
    nearest key; all others are made 0, and places are joined by a bitwise "or".
    """
    nearest_key = _join_places([places[0, tile] for tile in range(GROUP)], jnp.maximum)
    values[0, 0] = nearest_key
    for tile, key in enumerate(_spread(nearest_key)):
        wins = places[0, tile] == key
        places[0, tile] = jnp.where(wins, jnp.full_like(key, -1), jnp.zeros_like(key))
    for value in range(1, places.shape[0]):
        nearest = [places[value, tile] & places[0, tile] for tile in range(GROUP)]
        values[value, 0] = _join_places(nearest, jnp.bitwise_or)


def _join_places(tiles: Sequence[Array], join: Callable[[Array, Array], Array]) -> Array:
    """Joins each pixel's 16 places, and puts the pixels of 16 tiles side by side.

    A step joins the places that differ in one bit of their number, and puts two registers into one: the one with the
    higher number in lanes that have this bit.
    """
    for step in (8, 16, 32, 64):
        has_bit = (_lane() & step) != 0
        pairs = zip(tiles[::2], tiles[1::2], strict=True)
        tiles = [join(jnp.where(has_bit, b, a), _from_above(jnp.where(has_bit, a, b), step)) for a, b in pairs]
    return tiles[0]


assert GROUP == CLUSTER
