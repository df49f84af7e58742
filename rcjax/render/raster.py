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

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt32

from rcjax.pytree import PyTree
from rcjax.render.camera import Camera
from rcjax.render.vectors import Vector, cross, dot, minus

CLUSTER = 16  # triangles; a power of two, as the lowest bits of a depth key number the triangle in its cluster
TILE = 8  # pixels on a tile's side
WORD = 32  # clusters per word of a tile's mask
_LANE_MASK = CLUSTER - 1

Corners = tuple[Vector, Vector, Vector]
"""Three corners of three arrays [J K B] each: arithmetic written out over them is one loop in memory."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where a square picture is sampled: `size` places a side, of which `per_pixel` x `per_pixel` make a pixel.

    Four samples a pixel lie as OpenGL implementations lay them: no two in a row or a column of the pixel's 4x4 parts
    (Mesa's software renderer; measured). `mirror` swaps left and right.
    """

    size: int
    per_pixel: int = 1
    mirror: bool = False

    @property
    def tiles(self) -> int:
        """Tiles a side."""
        return tiles_per_side(self.size)

    @property
    def jitter(self) -> float:
        """How far samples lie off the places of a square grid, along each axis."""
        return (-0.25 if self.mirror else 0.25) if self.per_pixel == 2 else 0.0

    def place(self, column: Array, row: Array) -> tuple[Array, Array]:
        """Where the samples of these columns and rows lie. Tiles begin at an even number, so this holds in tiles."""
        if not self.jitter:
            return column.astype(jnp.float32), row.astype(jnp.float32)
        x = column + self.jitter * jnp.where(row % 2 == 1, 1.0, -1.0)
        return x, row + self.jitter * jnp.where(column % 2 == 0, 1.0, -1.0)

    def centre(self, index: Array) -> Array:
        """The middle of the pixel that a column or row of samples belongs to."""
        k = self.per_pixel
        return (index // k) * k + (k - 1) / 2 if k > 1 else index.astype(jnp.float32)


class Setup(PyTree):
    """What the inner loop reads: J = pictures, K = clusters (a multiple of `WORD`), B = `CLUSTER`.

    `edges` holds for each triangle the ray's x, y and constant factors, in pixels, of e_0, e_1, e_2. `push` is taken
    from the inverse depth: None, or what keeps a shadow map from shading its own surface.
    """

    edges: Float[Array, "J K 3 3 B"]
    masks: UInt32[Array, "J tiles words"]
    push: Float[Array, "J K B"] | None = None
    carried: Float[Array, "J K A B"] | None = None  # numbers of each triangle that `Hits` is to bring along


class Picture(PyTree):
    """Pictures in tile order: P packed colours, and depth key (bits of the inverse depth; larger is nearer).

    P is 1; with shadows one more for each light that casts them, which is what that light adds; 0 for depth alone.
    """

    colour: UInt32[Array, "J tiles pixels P"]
    key: Int[Array, "J tiles pixels"]


class Hits(NamedTuple):
    """The nearest triangle at each pixel of some tiles: where it is drawn, and where to look it up."""

    picture: Int[Array, " C"]
    cluster: Int[Array, "C pixels"]  # -1 where the base stays visible
    key: Int[Array, "C pixels"]
    centre_column: Float[Array, "C pixels"]  # of the pixel, where it is shaded
    centre_row: Float[Array, "C pixels"]
    carried: Float[Array, "C A pixels"] | None
    planes: Callable[[], Float[Array, "C pixels 3 3"]]  # looks up factors of column, row and one, of e_0, e_1, e_2

    @property
    def lane(self) -> Int[Array, "C pixels"]:
        """The triangle's number in its cluster."""
        return self.key & _LANE_MASK


def tiles_per_side(size: int) -> int:
    """Tiles that cover `size` pixels."""
    return -(-size // TILE)


def set_up(corners: Corners, camera: Camera, grid: Grid, *, cull: bool = True, push: float = 0.0) -> Setup:
    """Edge functions and tile masks of triangles given by their corners in the camera's frame.

    Triangles seen from behind (if `cull`), and padding, get edge functions that are negative everywhere. Depths are
    pushed back by `push` times what they change from one pixel to the next.
    """
    first, second, third = corners
    face = cross(minus(second, first), minus(third, first))  # exactly 0 for padding
    volume = dot(first, face)
    front = volume < 0 if cull else volume != 0
    scale = 1 / jnp.where(front, volume, 1.0)
    planes = [_edge_plane(a, b, scale, front, camera) for a, b in ((second, third), (third, first), (first, second))]
    edges = jnp.stack([jnp.stack(plane, axis=2) for plane in planes], axis=2)
    pushed = None
    if push:
        slopes = [planes[0][axis] + planes[1][axis] + planes[2][axis] for axis in (0, 1)]
        pushed = push * (jnp.abs(slopes[0]) + jnp.abs(slopes[1]))
    return Setup(edges=edges, masks=_tile_masks(corners, front, camera, grid), push=pushed)


def _edge_plane(a: Vector, b: Vector, scale: Array, front: Array, camera: Camera) -> Vector:
    """Factors of a pixel's column, its row and one, of the edge function of the side from `a` to `b`."""
    x, y, z = (c * scale for c in cross(a, minus(b, a)))  # a x b, with a smaller rounding error
    constant = jnp.where(front, x * camera.x0 + y * camera.y0 - z, -jnp.inf)
    return x * camera.dx, y * camera.dy, constant


def draw(
    setup: Setup,
    base: Picture,
    shade: Callable[[Hits], UInt32[Array, "C pixels P"]],
    *,
    base_of: Int[Array, " J"],
    near: Float[Array, ""],
    grid: Grid,
    chunk: int,
    below: Int[Array, "J tiles pixels"] | None = None,
) -> Picture:
    """Draw each picture's triangles over picture `base_of[j]` of `base`, colouring the visible ones with `shade`.

    Pictures are sampled on `grid`. `near` is the depth before which nothing is drawn; with `below`, neither is what is
    not farther than these depth keys. `chunk` is the number of tiles worked on at a time: it changes speed, not the
    result.
    """
    n_pictures, n_tiles, n_words = setup.masks.shape
    tiles = grid.tiles
    masks = setup.masks.reshape(-1, n_words)
    n_jobs = masks.shape[0]
    chunk = min(chunk, n_jobs)
    counts = jax.lax.population_count(masks).sum(axis=-1).astype(jnp.int32)
    order = jnp.argsort(-counts)
    rank = jnp.zeros(n_jobs, jnp.int32).at[order].set(jnp.arange(n_jobs, dtype=jnp.int32), unique_indices=True)
    order = jnp.concatenate([order, jnp.zeros(-n_jobs % chunk, order.dtype)])
    triangles = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (setup.edges, setup.push, setup.carried))
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
        best, cluster, carried = _nearest(masks[jobs], triangles, first_row, origin, limits, near, grid)
        column, row = _pixels(origin)

        def planes():
            return triangles[0][first_row[:, None] + jnp.maximum(cluster, 0), :, :, best & _LANE_MASK]

        hits = Hits(picture, cluster, best, grid.centre(column), grid.centre(row), carried, planes)
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


def _nearest(masks, triangles, first_row, origin, limits, near, grid: Grid):
    """Depth key, cluster (-1: the base) and carried numbers of what is nearest at each pixel, between the limits' keys.

    One round takes from every tile's mask its lowest set bit.
    """
    (edges, push, carried), (base_key, ceiling) = triangles, limits
    n_tiles = masks.shape[0]
    local = jnp.arange(TILE * TILE)
    local_x, local_y = grid.place(local % TILE, local // TILE)
    origin_x, origin_y = (origin[:, k].astype(jnp.float32)[:, None, None] for k in (0, 1))
    lanes = jnp.arange(CLUSTER, dtype=jnp.int32)[:, None]

    def one_round(state):
        masks, key, cluster, values = state
        masks, taken = _pop_lowest_bit(masks)
        at = first_row + jnp.maximum(taken, 0)
        plane = edges[at]  # [C 3 3 B]
        slope_x, slope_y = plane[:, :, 0], plane[:, :, 1]
        constant = plane[:, :, 2] + slope_x * origin_x + slope_y * origin_y
        e = slope_x[..., None] * local_x + slope_y[..., None] * local_y + constant[..., None]  # [C 3 B pixels]
        e0, e1, e2 = e[:, 0], e[:, 1], e[:, 2]
        inverse_depth = e0 + e1 + e2
        inside = (jnp.minimum(jnp.minimum(e0, e1), e2) >= 0) & (inverse_depth * near <= 1)
        if push is not None:
            inverse_depth = jnp.maximum(inverse_depth - push[at][..., None], 0.0)
        bits = jax.lax.bitcast_convert_type(inverse_depth, jnp.int32)
        keys = jnp.where(inside, (bits & ~_LANE_MASK) | lanes, -1)
        if ceiling is not None:
            keys = jnp.where(keys < ceiling[:, None], keys, -1)
        new = jnp.where((taken >= 0)[:, None], keys.max(axis=1), -1)
        nearer = new > key
        if carried is not None:
            wins = nearer[:, None] & (keys == new[:, None])
            brought = jnp.where(wins[:, None], carried[at][..., None], 0.0).sum(axis=2)
            values = jnp.where(nearer[:, None], brought, values)
        return masks, jnp.where(nearer, new, key), jnp.where(nearer, taken[:, None], cluster), values

    values = None if carried is None else jnp.zeros((n_tiles, carried.shape[1], TILE * TILE))
    start = (masks, base_key, jnp.full((n_tiles, TILE * TILE), -1, jnp.int32), values)
    return jax.lax.while_loop(lambda s: (s[0] != 0).any(), one_round, start)[1:]


def _pop_lowest_bit(masks: UInt32[Array, "C words"]) -> tuple[UInt32[Array, "C words"], Int[Array, " C"]]:
    """The masks without their lowest set bit, and that bit's number (-1 for an empty mask)."""
    first = jnp.argmax(masks != 0, axis=-1)
    word = jnp.take_along_axis(masks, first[:, None], axis=-1)[:, 0]
    lowest = word & (~word + 1)
    bit = jax.lax.population_count(lowest - 1).astype(jnp.int32)
    number = jnp.where(word != 0, first.astype(jnp.int32) * WORD + bit, -1)
    is_first = jnp.arange(masks.shape[-1]) == first[:, None]
    return jnp.where(is_first, masks & ~lowest[:, None], masks), number


def _pixels(origin: Int[Array, "C 2"]) -> tuple[Int[Array, "C pixels"], Int[Array, "C pixels"]]:
    local = jnp.arange(TILE * TILE)
    return origin[:, :1] + local % TILE, origin[:, 1:] + local // TILE


def _tile_masks(corners: Corners, front: Array, camera: Camera, grid: Grid) -> UInt32[Array, "J tiles words"]:
    """Which clusters' bounding boxes touch which tile. A box is separable, so rows and columns are masked apart."""
    nearest = functools.reduce(jnp.minimum, [-corner[2] for corner in corners])
    beyond = nearest > camera.near
    tiles, margin = grid.tiles, 0.01 + abs(grid.jitter)

    def span(axis, start, step):
        pixels = [(corner[axis] / jnp.maximum(-corner[2], camera.near) - start) / step for corner in corners]
        low = jnp.where(beyond, functools.reduce(jnp.minimum, pixels), -jnp.inf)
        high = jnp.where(beyond, functools.reduce(jnp.maximum, pixels), jnp.inf)
        low = jnp.where(front, low, jnp.inf).min(axis=-1) - margin
        high = jnp.where(front, high, -jnp.inf).max(axis=-1) + margin
        first_pixel = TILE * jnp.arange(tiles, dtype=jnp.float32)[:, None]
        touches = (low[:, None] <= first_pixel + (TILE - 1)) & (high[:, None] >= first_pixel)  # [J tiles K]
        return _pack_bits(touches)

    columns = span(0, camera.x0, camera.dx)
    rows = span(1, camera.y0, camera.dy)
    masks = rows[:, :, None] & columns[:, None]
    return masks.reshape(masks.shape[0], tiles * tiles, masks.shape[-1])


def _pack_bits(bits):
    words = bits.reshape(*bits.shape[:-1], -1, WORD).astype(jnp.uint32)
    return (words << jnp.arange(WORD, dtype=jnp.uint32)).sum(axis=-1, dtype=jnp.uint32)


def pixel_index(column: Array, row: Array, size: int) -> Int[Array, "*batch"]:
    """Where a pixel lies among a picture's [tiles pixels], both flattened."""
    column, row = column.astype(jnp.int32), row.astype(jnp.int32)
    tile = (row // TILE) * tiles_per_side(size) + column // TILE
    return tile * TILE * TILE + (row % TILE) * TILE + column % TILE


def pixel_grid(grid: Grid) -> tuple[Float[Array, "tiles pixels"], Float[Array, "tiles pixels"]]:
    """Column and row of every sample in tile order."""
    tile = jnp.arange(grid.tiles**2)
    return grid.place(*_pixels(jnp.stack([tile % grid.tiles, tile // grid.tiles], axis=-1) * TILE))


def untile(tiled: Array, size: int) -> Array:
    """Pictures in tile order [J tiles pixels ..] as [J size size ..]."""
    tiles, rest = tiles_per_side(size), tiled.shape[3:]
    grid = tiled.reshape(tiled.shape[0], tiles, tiles, TILE, TILE, *rest).swapaxes(2, 3)
    return grid.reshape(tiled.shape[0], tiles * TILE, tiles * TILE, *rest)[:, :size, :size]


def untile_blocks(tiled: Array, size: int) -> Array:
    """Clips in tile order [N F tiles pixels] as [N F/2 size/2 size/2 8]: blocks of 2 frames x 2 rows x 2 columns.

    One transposition, as a tile holds whole blocks. F and `size` are even.
    """
    n, f = tiled.shape[:2]
    tiles, half = tiles_per_side(size), TILE // 2
    split = tiled.reshape(n, f // 2, 2, tiles, tiles, half, 2, half, 2)
    blocks = split.transpose(0, 1, 3, 5, 4, 7, 2, 6, 8).reshape(n, f // 2, tiles * half, tiles * half, 8)
    return blocks[:, :, : size // 2, : size // 2]


def inverse_depth_of(key: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The inverse depth in a depth key, without its triangle's number."""
    return jax.lax.bitcast_convert_type(key & ~_LANE_MASK, jnp.float32)


def empty_key(camera: Camera, shape: tuple[int, ...]) -> Int[np.ndarray, "*shape"]:
    """Depth keys of nothing: the far plane's. Host."""
    return np.full(shape, np.float32(1 / camera.far).view(np.int32) & ~_LANE_MASK, np.int32)
