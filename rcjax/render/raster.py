"""Depth-tested drawing of triangles over pictures, tile by tile, in dense arrays of fixed shape.

Triangles come in clusters of `CLUSTER` neighbours of one geom. For every 8x8 tile of a picture a bit mask says which
clusters' bounding boxes touch it. Tiles are then worked off in chunks, fullest first: each step takes the next set
bit of every tile in the chunk and tests that cluster's triangles on all the tile's pixels. The masks have a bit for
every cluster, so no list can overflow, and the work follows the number of set bits, not the fullest tile.

Every triangle with camera-frame corners v0, v1, v2 gives three linear functions of the ray r through a pixel,
e_k = r . (v_i x v_j) / (v0 . (v1 x v2)): the barycentric coordinate of corner k at the hit, over the hit's depth. The
pixel is inside where all three are positive, and their sum is the inverse depth. Nothing is divided by a corner's
depth, so triangles that reach behind the camera need no clipping (Olano & Greer 1997).
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt32

from rcjax.render.camera import Camera

CLUSTER = 16  # triangles; a power of two, as the lowest bits of a depth key number the triangle in its cluster
TILE = 8  # pixels on a tile's side
WORD = 32  # clusters per word of a tile's mask
_LANE_MASK = CLUSTER - 1


@chex.dataclass(frozen=True)
class Setup:
    """What the inner loop reads: J = pictures, K = clusters (a multiple of `WORD`), B = `CLUSTER`.

    `edges` holds for each triangle the ray's x, y and constant factors, in pixels, of e_0, e_1, e_2. `push` is taken
    from the inverse depth: None, or what keeps a shadow map from shading its own surface.
    """

    edges: Float[Array, "J K 3 3 B"]
    masks: UInt32[Array, "J tiles words"]
    push: Float[Array, "J K B"] | None = None


@chex.dataclass(frozen=True)
class Picture:
    """Pictures in tile order: P packed colours, and depth key (bits of the inverse depth; larger is nearer).

    P is 1; with shadows one more for each light that casts them, which is what that light adds; 0 for depth alone.
    """

    colour: UInt32[Array, "J tiles pixels P"]
    key: Int[Array, "J tiles pixels"]


class Hits(NamedTuple):
    """The nearest triangle at each pixel of some tiles: where it is drawn, and where to look it up."""

    picture: Int[Array, " C"]
    cluster: Int[Array, "C pixels"]  # -1 where the base stays visible
    lane: Int[Array, "C pixels"]
    planes: Float[Array, "C pixels 3 3"]  # factors of the pixel's column, its row and one, of e_0, e_1, e_2
    edges: Float[Array, "C pixels 3"]  # e_0, e_1, e_2 at the pixel
    column: Float[Array, "C pixels"]
    row: Float[Array, "C pixels"]


def tiles_per_side(size: int) -> int:
    """Tiles that cover `size` pixels."""
    return -(-size // TILE)


def set_up(
    corners: Float[Array, "J K 3 3 B"], camera: Camera, tiles: int, *, cull: bool = True, push: float = 0.0
) -> Setup:
    """Edge functions and tile masks of triangles given by camera-frame corners [.., corner, xyz, B].

    Triangles seen from behind (if `cull`), and padding, get edge functions that are negative everywhere. Depths are
    pushed back by `push` times what they change from one pixel to the next.
    """
    second, third = jnp.roll(corners, -1, axis=2), jnp.roll(corners, -2, axis=2)
    normal = _cross(second, third - second)  # second x third, with a smaller rounding error
    face = _cross(second - corners, third - corners)[:, :, 0]  # exactly 0 for padding
    volume = (corners[:, :, 0] * face).sum(axis=2)
    front = volume < 0 if cull else volume != 0
    normal = normal / jnp.where(front, volume, 1.0)[:, :, None, None]
    x, y, z = normal[:, :, :, 0], normal[:, :, :, 1], normal[:, :, :, 2]
    constant = jnp.where(front[:, :, None], x * camera.x0 + y * camera.y0 - z, -jnp.inf)
    edges = jnp.stack([x * camera.dx, y * camera.dy, constant], axis=3)
    slope = edges[:, :, :, :2].sum(axis=2)
    pushed = push * jnp.abs(slope).sum(axis=2) if push else None
    return Setup(edges=edges, masks=_tile_masks(corners, front, camera, tiles), push=pushed)


def draw(
    setup: Setup,
    base: Picture,
    shade: Callable[[Hits], UInt32[Array, "C pixels P"]],
    *,
    base_of: Int[Array, " J"],
    near: Float[Array, ""],
    size: int,
    chunk: int,
    below: Int[Array, "J tiles pixels"] | None = None,
) -> Picture:
    """Draw each picture's triangles over picture `base_of[j]` of `base`, colouring the visible ones with `shade`.

    Pictures are `size` x `size`. `near` is the depth before which nothing is drawn; with `below`, neither is what is
    not farther than these depth keys. `chunk` is the number of tiles worked on at a time: it changes speed, not the
    result.
    """
    n_pictures, n_tiles, n_words = setup.masks.shape
    tiles = tiles_per_side(size)
    masks = setup.masks.reshape(-1, n_words)
    n_jobs = masks.shape[0]
    chunk = min(chunk, n_jobs)
    counts = jax.lax.population_count(masks).sum(axis=-1).astype(jnp.int32)
    order = jnp.argsort(-counts)
    rank = jnp.zeros(n_jobs, jnp.int32).at[order].set(jnp.arange(n_jobs, dtype=jnp.int32), unique_indices=True)
    order = jnp.concatenate([order, jnp.zeros(-n_jobs % chunk, order.dtype)])
    triangles = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (setup.edges, setup.push))
    base_row = (base_of[:, None] * n_tiles + jnp.arange(n_tiles)).reshape(-1)
    base_colour, base_key = (a.reshape(a.shape[0] * n_tiles, *a.shape[2:]) for a in (base.colour, base.key))
    ceiling = None if below is None else below.reshape(-1, TILE * TILE)

    def one_chunk(state):
        start, colour, key = state
        jobs = jax.lax.dynamic_slice_in_dim(order, start, chunk)
        picture, tile = jobs // n_tiles, jobs % n_tiles
        origin = jnp.stack([tile % tiles, tile // tiles], axis=-1) * TILE
        first_row = picture * setup.edges.shape[1]
        limits = base_key[base_row[jobs]], None if ceiling is None else ceiling[jobs]
        best, cluster = _nearest(masks[jobs], triangles, first_row, origin, limits, near)
        lane = best & _LANE_MASK
        column, row = _pixels(origin)
        planes = triangles[0][first_row[:, None] + jnp.maximum(cluster, 0), :, :, lane]  # [C pixels 3 3]
        e = planes[..., 0] * column[..., None] + planes[..., 1] * row[..., None] + planes[..., 2]
        hits = Hits(picture=picture, cluster=cluster, lane=lane, planes=planes, edges=e, column=column, row=row)
        drawn = jnp.where((cluster >= 0)[..., None], shade(hits), base_colour[base_row[jobs]])
        return (
            start + chunk,
            jax.lax.dynamic_update_slice_in_dim(colour, drawn, start, 0),
            jax.lax.dynamic_update_slice_in_dim(key, best, start, 0),
        )

    n_active = (counts > 0).sum()
    empty = (jnp.zeros((order.shape[0], *a.shape[1:]), a.dtype) for a in (base_colour, base_key))
    _, colour, key = jax.lax.while_loop(lambda s: s[0] < n_active, one_chunk, (jnp.int32(0), *empty))
    touched = counts > 0

    def put_back(drawn, base):
        whole = jnp.where(touched.reshape(-1, *[1] * (drawn.ndim - 1)), drawn[rank], base[base_row])
        return whole.reshape(n_pictures, n_tiles, *drawn.shape[1:])

    return Picture(colour=put_back(colour, base_colour), key=put_back(key, base_key))


def _nearest(masks, triangles, first_row, origin, limits, near):
    """Depth key and cluster (-1: the base) of what is nearest at each pixel of C tiles, between the limits' keys.

    One round takes from every tile's mask its lowest set bit.
    """
    (edges, push), (base_key, ceiling) = triangles, limits
    n_tiles = masks.shape[0]
    local = jnp.arange(TILE * TILE)
    local_x, local_y = (local % TILE).astype(jnp.float32), (local // TILE).astype(jnp.float32)
    origin_x, origin_y = (origin[:, k].astype(jnp.float32)[:, None, None] for k in (0, 1))
    lanes = jnp.arange(CLUSTER, dtype=jnp.int32)[:, None]

    def one_round(state):
        masks, key, cluster = state
        masks, taken = _pop_lowest_bit(masks)
        plane = edges[first_row + jnp.maximum(taken, 0)]  # [C 3 3 B]
        slope_x, slope_y = plane[:, :, 0], plane[:, :, 1]
        constant = plane[:, :, 2] + slope_x * origin_x + slope_y * origin_y
        e = slope_x[..., None] * local_x + slope_y[..., None] * local_y + constant[..., None]  # [C 3 B pixels]
        e0, e1, e2 = e[:, 0], e[:, 1], e[:, 2]
        inverse_depth = e0 + e1 + e2
        inside = (jnp.minimum(jnp.minimum(e0, e1), e2) >= 0) & (inverse_depth * near <= 1)
        if push is not None:
            inverse_depth = jnp.maximum(inverse_depth - push[first_row + jnp.maximum(taken, 0)][..., None], 0.0)
        bits = jax.lax.bitcast_convert_type(inverse_depth, jnp.int32)
        keys = jnp.where(inside, (bits & ~_LANE_MASK) | lanes, -1)
        if ceiling is not None:
            keys = jnp.where(keys < ceiling[:, None], keys, -1)
        new = jnp.where((taken >= 0)[:, None], keys.max(axis=1), -1)
        nearer = new > key
        return masks, jnp.where(nearer, new, key), jnp.where(nearer, taken[:, None], cluster)

    start = (masks, base_key, jnp.full((n_tiles, TILE * TILE), -1, jnp.int32))
    _, key, cluster = jax.lax.while_loop(lambda s: (s[0] != 0).any(), one_round, start)
    return key, cluster


def _pop_lowest_bit(masks: UInt32[Array, "C words"]) -> tuple[UInt32[Array, "C words"], Int[Array, " C"]]:
    """The masks without their lowest set bit, and that bit's number (-1 for an empty mask)."""
    first = jnp.argmax(masks != 0, axis=-1)
    word = jnp.take_along_axis(masks, first[:, None], axis=-1)[:, 0]
    lowest = word & (~word + 1)
    bit = jax.lax.population_count(lowest - 1).astype(jnp.int32)
    number = jnp.where(word != 0, first.astype(jnp.int32) * WORD + bit, -1)
    is_first = jnp.arange(masks.shape[-1]) == first[:, None]
    return jnp.where(is_first, masks & ~lowest[:, None], masks), number


def _pixels(origin: Int[Array, "C 2"]) -> tuple[Float[Array, "C pixels"], Float[Array, "C pixels"]]:
    local = jnp.arange(TILE * TILE)
    column, row = origin[:, :1] + local % TILE, origin[:, 1:] + local // TILE
    return column.astype(jnp.float32), row.astype(jnp.float32)


def _tile_masks(corners, front, camera: Camera, tiles: int) -> UInt32[Array, "J tiles words"]:
    """Which clusters' bounding boxes touch which tile. A box is separable, so rows and columns are masked apart."""
    depth = -corners[:, :, :, 2]
    beyond = (depth > camera.near).all(axis=2)
    depth = jnp.maximum(depth, camera.near)

    def span(ray, first, step):
        pixel = (ray / depth - first) / step
        low = jnp.where(beyond, pixel.min(axis=2), -jnp.inf)
        high = jnp.where(beyond, pixel.max(axis=2), jnp.inf)
        low = jnp.where(front, low, jnp.inf).min(axis=-1) - 0.01
        high = jnp.where(front, high, -jnp.inf).max(axis=-1) + 0.01
        first_pixel = TILE * jnp.arange(tiles, dtype=jnp.float32)[:, None]
        touches = (low[:, None] <= first_pixel + (TILE - 1)) & (high[:, None] >= first_pixel)  # [J tiles K]
        return _pack_bits(touches)

    columns = span(corners[:, :, :, 0], camera.x0, camera.dx)
    rows = span(corners[:, :, :, 1], camera.y0, camera.dy)
    masks = rows[:, :, None] & columns[:, None]
    return masks.reshape(masks.shape[0], tiles * tiles, masks.shape[-1])


def _pack_bits(bits):
    words = bits.reshape(*bits.shape[:-1], -1, WORD).astype(jnp.uint32)
    return (words << jnp.arange(WORD, dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)


def _cross(a: Float[Array, "J K 3 3 B"], b: Float[Array, "J K 3 3 B"]) -> Float[Array, "J K 3 3 B"]:
    """Cross product along axis 3."""
    ax, ay, az = a[:, :, :, 0], a[:, :, :, 1], a[:, :, :, 2]
    bx, by, bz = b[:, :, :, 0], b[:, :, :, 1], b[:, :, :, 2]
    return jnp.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=3)


def pixel_index(column: Array, row: Array, size: int) -> Int[Array, "*batch"]:
    """Where a pixel lies among a picture's [tiles pixels], both flattened."""
    column, row = column.astype(jnp.int32), row.astype(jnp.int32)
    tile = (row // TILE) * tiles_per_side(size) + column // TILE
    return tile * TILE * TILE + (row % TILE) * TILE + column % TILE


def pixel_grid(size: int) -> tuple[Float[Array, "tiles pixels"], Float[Array, "tiles pixels"]]:
    """Column and row of every pixel in tile order."""
    tiles = tiles_per_side(size)
    tile = jnp.arange(tiles * tiles)
    return _pixels(jnp.stack([tile % tiles, tile // tiles], axis=-1) * TILE)


def untile(tiled: Array, size: int) -> Array:
    """Pictures in tile order [J tiles pixels ..] as [J size size ..]."""
    tiles, rest = tiles_per_side(size), tiled.shape[3:]
    grid = tiled.reshape(tiled.shape[0], tiles, tiles, TILE, TILE, *rest).swapaxes(2, 3)
    return grid.reshape(tiled.shape[0], tiles * TILE, tiles * TILE, *rest)[:, :size, :size]


def inverse_depth_of(key: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The inverse depth in a depth key, without its triangle's number."""
    return jax.lax.bitcast_convert_type(key & ~_LANE_MASK, jnp.float32)


def empty_key(camera: Camera, shape: tuple[int, ...]) -> Int[np.ndarray, "*shape"]:
    """Depth keys of nothing: the far plane's. Host."""
    return np.full(shape, np.float32(1 / camera.far).view(np.int32) & ~_LANE_MASK, np.int32)
