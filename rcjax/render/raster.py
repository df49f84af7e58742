"""A tiled rasteriser: draws triangles into framebuffers with a depth test, in dense arrays of fixed shape.

Triangles come in clusters of `CLUSTER` neighbours of one geom. For every 8x8 tile of an image, a bit mask says which
clusters' bounding boxes touch it. The tiles are then processed in chunks, fullest first: each step takes the next set
bit of every tile in the chunk and tests that cluster's triangles on all the tile's pixels. The masks have a bit for
every cluster, so no list can overflow, and the work grows with the number of set bits, not with the fullest tile. On a
GPU one kernel takes all these steps for a chunk (`rcjax.render.tile_kernel`). On a TPU another kernel does
(`rcjax.render.mosaic_kernel`); its chunks are groups of 16 tiles of one image, in the images' order.

Every triangle with camera-frame corners v0, v1, v2 has three edge functions, which are linear in the ray r through a
pixel: e_k = r . (v_i x v_j) / (v0 . (v1 x v2)). Each is the barycentric coordinate of corner k where the ray meets the
triangle, divided by the depth there. The pixel is inside where none is negative, and their sum is the inverse
depth. Nothing is divided by a corner's depth, so triangles that reach behind the camera need no clipping (Olano and
Greer, "Triangle scan conversion using 2D homogeneous coordinates", 1997).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, UInt32

from rcjax.pytree import PyTree
from rcjax.render import mosaic_kernel, tile_groups, tile_kernel
from rcjax.render.camera import Camera
from rcjax.render.clusters import CLUSTER, LANE_MASK, WORD, depth_keys
from rcjax.render.vectors import Vector, cross, dot, minus

TILE = 8  # pixels along a tile's side

TileLoop = Literal["xla", "triton", "triton-interpreted", "mosaic", "mosaic-interpreted"]
"""What draws tiles: rounds of XLA operations, or a kernel on a GPU (triton) or a TPU (mosaic).

Tests can interpret the kernels on any backend.
"""

Corners = tuple[Vector, Vector, Vector]
"""Three corners, each of three arrays [J K B]: XLA fuses arithmetic written out over them into one loop."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where a square image is sampled: `size` samples a side, of which `per_pixel` x `per_pixel` make a pixel.

    Four samples per pixel lie as OpenGL implementations place them: no two of them share a row or a column when the
    pixel is divided into 4x4 parts (measured with Mesa's software renderer). `mirror` swaps left and right.
    """

    size: int
    per_pixel: int = 1
    mirror: bool = False

    @property
    def tiles(self) -> int:
        """Tiles along the image's side."""
        return tiles_per_side(self.size)

    @property
    def jitter(self) -> float:
        """How far, in samples, each sample is shifted off the regular grid along each axis."""
        return (-0.25 if self.mirror else 0.25) if self.per_pixel == 2 else 0.0

    def sample_positions(self, column: Array, row: Array) -> tuple[Array, Array]:
        """Coordinates of samples from their indices in the image or, as tiles start at even indices, in their tile."""
        if not self.jitter:
            return column.astype(jnp.float32), row.astype(jnp.float32)
        x = column + self.jitter * jnp.where(row % 2 == 1, 1.0, -1.0)
        return x, row + self.jitter * jnp.where(column % 2 == 0, 1.0, -1.0)

    def pixel_centre(self, index: Array) -> Array:
        """The centre, along one axis, of the pixel that a column or row of samples belongs to."""
        k = self.per_pixel
        return (index // k) * k + (k - 1) / 2 if k > 1 else index.astype(jnp.float32)


class TriangleSetup(PyTree):
    """Triangles ready for the inner loop, with J images, K clusters (a multiple of `WORD`) and B = `CLUSTER`.

    `edges` holds the coefficients of each triangle's e_0, e_1, e_2: of the pixel's column, of its row, and constant.
    `depth_bias` is subtracted from the inverse depth; it keeps a shadow map from shadowing its own surface.
    """

    edges: Float[Array, "J K 3 3 B"]
    masks: UInt32[Array, "J tiles words"]
    depth_bias: Float[Array, "J K B"] | None = None
    varyings: Float[Array, "J K A B"] | None = None  # A numbers per triangle, passed on to `Fragments`


class Framebuffer(PyTree):
    """J images in tile order: P packed colours and a depth key (the bits of the inverse depth; larger is nearer).

    P is 1, and with shadows one more for each light that casts them, which holds the light that it adds. P is 0 where
    only depth is drawn.
    """

    colour: UInt32[Array, "J tiles pixels P"]
    depth_key: Int[Array, "J tiles pixels"]


class Fragments(NamedTuple):
    """The nearest triangle at each pixel: where it is drawn, and where to look it up.

    There are C sets of pixels, each of one image: tiles, or a row of pixels of each of a group's tiles.
    """

    image: Int[Array, " C"]
    cluster: Int[Array, "C pixels"]  # -1 where the base framebuffer stays visible
    depth_key: Int[Array, "C pixels"]
    pixel_column: Float[Array, "C pixels"]  # the pixel's centre, where it is shaded
    pixel_row: Float[Array, "C pixels"]
    varyings: list[Float[Array, "C pixels"]] | None  # A arrays
    planes: Callable[[], Float[Array, "C pixels 3 3"]]  # looks up the coefficients of e_0, e_1, e_2

    @property
    def lane(self) -> Int[Array, "C pixels"]:
        """The triangle's number in its cluster."""
        return self.depth_key & LANE_MASK


def tiles_per_side(size: int) -> int:
    """How many tiles cover `size` pixels."""
    return -(-size // TILE)


def set_up_triangles(
    corners: Corners, camera: Camera, grid: Grid, *, cull: bool = True, slope_scaled_bias: float = 0.0
) -> TriangleSetup:
    """Computes the edge functions and tile masks of triangles from their corners in the camera's frame.

    Triangles seen from behind (if `cull`), and padding, get edge functions that are negative everywhere. With
    `slope_scaled_bias`, that many times the change of the inverse depth from one pixel to the next is subtracted from
    it, similar to the factor of OpenGL's `glPolygonOffset`, which uses another norm of the slope.
    """
    first, second, third = corners
    face = cross(minus(second, first), minus(third, first))  # exactly 0 for padding
    volume = dot(first, face)
    front = volume < 0 if cull else volume != 0
    scale = 1 / jnp.where(front, volume, 1.0)
    planes = [_edge_plane(a, b, scale, front, camera) for a, b in ((second, third), (third, first), (first, second))]
    edges = jnp.stack([jnp.stack(plane, axis=2) for plane in planes], axis=2)
    depth_bias = None
    if slope_scaled_bias:
        slopes = [planes[0][axis] + planes[1][axis] + planes[2][axis] for axis in (0, 1)]
        depth_bias = slope_scaled_bias * (jnp.abs(slopes[0]) + jnp.abs(slopes[1]))
    return TriangleSetup(edges=edges, masks=_tile_masks(corners, front, camera, grid), depth_bias=depth_bias)


def _edge_plane(a: Vector, b: Vector, scale: Array, front: Array, camera: Camera) -> Vector:
    """Coefficients (of the column, of the row, constant) of the edge function of the side from `a` to `b`."""
    x, y, z = (c * scale for c in cross(a, minus(b, a)))  # a x b, with a smaller rounding error
    constant = jnp.where(front, x * camera.x0 + y * camera.y0 - z, -jnp.inf)
    return x * camera.dx, y * camera.dy, constant


def draw(
    setup: TriangleSetup,
    base: Framebuffer,
    shade: Callable[[Fragments], UInt32[Array, "C pixels P"]],
    *,
    base_index: Int[Array, " J"],
    near: Float[Array, ""],
    grid: Grid,
    chunk: int,
    tile_loop: TileLoop = "xla",
    key_limit: Int[Array, "J tiles pixels"] | None = None,
) -> Framebuffer:
    """Draws the triangles of J images over a base framebuffer and returns the J resulting images.

    Args:
        setup: The triangles of each image.
        base: The framebuffer to draw over.
        shade: Returns the packed colours of the visible fragments.
        base_index: For each image, which image of `base` it is drawn over.
        near: Depth in metres before which nothing is drawn.
        grid: Where the images are sampled.
        chunk: Number of tiles processed at a time; it changes the speed, not the result.
        tile_loop: What finds the nearest fragments; it changes the speed, and results by rounding alone.
        key_limit: If given, only fragments with a smaller depth key, which are farther away, are drawn.
    """
    if tile_loop.startswith("mosaic"):
        if _fits_kernel(setup):
            limits = base.depth_key, key_limit
            interpret = tile_loop == "mosaic-interpreted"
            return _draw_in_groups(setup, base.colour, limits, shade, base_index, near, grid, chunk, interpret)
        tile_loop = "xla"
    n_images, n_tiles, n_words = setup.masks.shape
    tiles = grid.tiles
    masks = setup.masks.reshape(-1, n_words)
    n_jobs = masks.shape[0]
    chunk = min(chunk, n_jobs)
    counts = jax.lax.population_count(masks).sum(axis=-1).astype(jnp.int32)
    order = jnp.argsort(-counts)
    rank = jnp.zeros(n_jobs, jnp.int32).at[order].set(jnp.arange(n_jobs, dtype=jnp.int32), unique_indices=True)
    order = jnp.concatenate([order, jnp.zeros(-n_jobs % chunk, order.dtype)])
    triangles = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (setup.edges, setup.depth_bias, setup.varyings))
    base_row = (base_index[:, None] * n_tiles + jnp.arange(n_tiles)).reshape(-1)
    base_colour, base_key = (a.reshape(a.shape[0] * n_tiles, *a.shape[2:]) for a in (base.colour, base.depth_key))
    key_limit = None if key_limit is None else key_limit.reshape(-1, TILE * TILE)

    def one_chunk(state):
        start, colour, depth_key = state
        jobs = jax.lax.dynamic_slice_in_dim(order, start, chunk)
        image, tile = jobs // n_tiles, jobs % n_tiles
        origin = jnp.stack([tile % tiles, tile // tiles], axis=-1) * TILE
        first_cluster = image * setup.edges.shape[1]
        limits = base_key[base_row[jobs]], None if key_limit is None else key_limit[jobs]
        nearest_key, cluster, varyings = _nearest_fragments(
            masks[jobs], triangles, first_cluster, origin, limits, near, grid, tile_loop
        )
        varyings = None if varyings is None else [varyings[:, i] for i in range(varyings.shape[1])]
        column, row = _pixels(origin)

        def planes():
            return triangles[0][first_cluster[:, None] + jnp.maximum(cluster, 0), :, :, nearest_key & LANE_MASK]

        fragments = Fragments(
            image, cluster, nearest_key, grid.pixel_centre(column), grid.pixel_centre(row), varyings, planes
        )
        drawn = jnp.where((cluster >= 0)[..., None], shade(fragments), base_colour[base_row[jobs]])
        return (
            start + chunk,
            jax.lax.dynamic_update_slice_in_dim(colour, drawn, start, 0),
            jax.lax.dynamic_update_slice_in_dim(depth_key, nearest_key, start, 0),
        )

    n_active = (counts > 0).sum()
    empty = (jnp.zeros((order.shape[0], *a.shape[1:]), a.dtype) for a in (base_colour, base_key))
    _, colour, depth_key = jax.lax.while_loop(lambda s: s[0] < n_active, one_chunk, (jnp.int32(0), *empty))
    touched = counts > 0

    def in_image_order(drawn, base):
        whole = jnp.where(touched.reshape(-1, *[1] * (drawn.ndim - 1)), drawn[rank], base[base_row])
        return whole.reshape(n_images, n_tiles, *drawn.shape[1:])

    return Framebuffer(colour=in_image_order(colour, base_colour), depth_key=in_image_order(depth_key, base_key))


def _fits_kernel(setup: TriangleSetup) -> bool:
    """Whether a TPU's kernel can hold an image's triangles; XLA's rounds draw scenes with more."""
    return mosaic_kernel.table_fits(setup.edges.shape[1], setup.depth_bias is not None, _n_varyings(setup))


def _n_varyings(setup: TriangleSetup) -> int:
    return 0 if setup.varyings is None else setup.varyings.shape[2]


def _draw_in_groups(setup, base_colour, limits, shade, base_index, near, grid: Grid, chunk: int, interpret: bool):
    """Draws as `draw` does, with the kernel for TPUs, in chunks of groups of tiles."""
    n_images, n_tiles, _ = setup.masks.shape
    groups = tile_groups.group_tiles((setup.masks != 0).any(axis=-1))
    most = groups.tile.shape[0] * groups.tile.shape[1]
    n_chunk = max(1, min(chunk // mosaic_kernel.GROUP, most))
    find_nearest = _group_kernel(setup, near, grid, interpret)

    def one_chunk(state):
        start, colour, depth_key = state
        image, tile, masks = tile_groups.take_groups(groups, start + jnp.arange(n_chunk), setup.masks)
        origin = jnp.stack([tile % grid.tiles, tile // grid.tiles], axis=-1) * TILE
        base_tile = base_index[image][:, None], tile
        base_key, key_limit = (
            None if keys is None else tile_groups.side_by_side(keys[index])
            for keys, index in zip(limits, (base_tile, (image[:, None], tile)), strict=True)
        )
        fragments = find_nearest(image, masks, origin, base_key, key_limit)
        new = tile_groups.apart(shade(fragments))
        is_drawn = tile_groups.apart(fragments.cluster >= 0)
        drawn = jnp.where(is_drawn[..., None], new, base_colour[base_tile].reshape(new.shape))
        first = start * mosaic_kernel.GROUP
        return (
            start + n_chunk,
            jax.lax.dynamic_update_slice_in_dim(colour, drawn, first, 0),
            jax.lax.dynamic_update_slice_in_dim(depth_key, tile_groups.apart(fragments.depth_key), first, 0),
        )

    n_slots = -(-most // n_chunk) * n_chunk * mosaic_kernel.GROUP
    empty = (jnp.zeros((n_slots, *a.shape[2:]), a.dtype) for a in (base_colour, limits[0]))
    _, *drawn = jax.lax.while_loop(lambda s: s[0] < groups.n_groups, one_chunk, (jnp.int32(0), *empty))
    slots = tile_groups.group_slots(groups)

    def in_image_order(drawn, base):
        touched = groups.is_active.reshape(n_images, n_tiles, *[1] * (drawn.ndim - 1))
        return jnp.where(touched, drawn[slots], base[base_index])

    colour, depth_key = (in_image_order(*pair) for pair in zip(drawn, (base_colour, limits[0]), strict=True))
    return Framebuffer(colour=colour, depth_key=depth_key)


def _group_kernel(setup: TriangleSetup, near, grid: Grid, interpret: bool) -> Callable[..., Fragments]:
    """Returns the function that finds the nearest fragments of groups of tiles, by the kernel for TPUs."""
    table = mosaic_kernel.triangle_table(setup.edges, setup.depth_bias, setup.varyings)
    local = jnp.arange(TILE * TILE).reshape(TILE, TILE)
    samples = jnp.stack(grid.sample_positions(local % TILE, local // TILE))
    has_depth_bias, n_varyings = setup.depth_bias is not None, _n_varyings(setup)

    def find_nearest(image, masks, origin, base_key, key_limit) -> Fragments:
        results = mosaic_kernel.nearest_fragments(
            table, image, masks, origin, jnp.tile(samples, CLUSTER), base_key, key_limit, near,
            has_depth_bias=has_depth_bias, n_varyings=n_varyings, interpret=interpret,
        )  # fmt: skip
        key, cluster, *varyings = (result.reshape(-1, result.shape[-1]) for result in results)
        image = jnp.repeat(image, TILE)

        def planes():
            return setup.edges[image[:, None], jnp.maximum(cluster, 0), :, :, key & LANE_MASK]

        shape = (*origin.shape[:1], TILE, mosaic_kernel.GROUP, TILE)  # groups, rows, tiles, columns
        column = jnp.broadcast_to(origin[:, None, :, :1] + local[0], shape).reshape(key.shape)
        row = jnp.broadcast_to(origin[:, None, :, 1:] + local[:, :1, None] // TILE, shape).reshape(key.shape)
        given = varyings if setup.varyings is not None else None
        return Fragments(image, cluster, key, grid.pixel_centre(column), grid.pixel_centre(row), given, planes)

    return find_nearest


def _nearest_fragments(masks, triangles, first_cluster, origin, limits, near, grid: Grid, tile_loop: TileLoop):
    """Depth key, cluster (-1: the base) and varyings of each pixel's nearest fragment between the limits' keys."""
    (edges, depth_bias, varyings), (base_key, key_limit) = triangles, limits
    local = jnp.arange(TILE * TILE)
    samples = grid.sample_positions(local % TILE, local // TILE)
    if tile_loop == "xla" or varyings is not None:
        return _nearest_in_rounds(masks, triangles, first_cluster, origin, samples, limits, near)
    key, cluster = tile_kernel.nearest_fragments(
        masks, edges, depth_bias, first_cluster, origin.astype(jnp.float32), jnp.stack(samples), base_key, key_limit,
        near, interpret=tile_loop == "triton-interpreted",
    )  # fmt: skip
    return key, cluster, None


def _nearest_in_rounds(masks, triangles, first_cluster, origin, samples, limits, near):
    """Computes `_nearest_fragments` in rounds, each of which takes the lowest set bit from every tile's mask."""
    (edges, depth_bias, varyings), (base_key, key_limit) = triangles, limits
    n_tiles = masks.shape[0]
    local_x, local_y = samples
    origin_x, origin_y = (origin[:, k].astype(jnp.float32)[:, None, None] for k in (0, 1))
    lanes = jnp.arange(CLUSTER, dtype=jnp.int32)[:, None]

    def one_round(state):
        masks, depth_key, cluster, values = state
        masks, clusters = _pop_lowest_bit(masks)
        rows = first_cluster + jnp.maximum(clusters, 0)
        plane = edges[rows]  # [C 3 3 B]
        slope_x, slope_y = plane[:, :, 0], plane[:, :, 1]
        constant = plane[:, :, 2] + slope_x * origin_x + slope_y * origin_y
        e = slope_x[..., None] * local_x + slope_y[..., None] * local_y + constant[..., None]  # [C 3 B pixels]
        bias = None if depth_bias is None else depth_bias[rows][..., None]
        limit = None if key_limit is None else key_limit[:, None]
        keys = depth_keys([e[:, 0], e[:, 1], e[:, 2]], lanes, near, bias, limit)
        new = jnp.where((clusters >= 0)[:, None], keys.max(axis=1), -1)
        nearer = new > depth_key
        if varyings is not None:
            wins = nearer[:, None] & (keys == new[:, None])
            nearest_varyings = jnp.where(wins[:, None], varyings[rows][..., None], 0.0).sum(axis=2)
            values = jnp.where(nearer[:, None], nearest_varyings, values)
        return masks, jnp.where(nearer, new, depth_key), jnp.where(nearer, clusters[:, None], cluster), values

    values = None if varyings is None else jnp.zeros((n_tiles, varyings.shape[1], TILE * TILE))
    start = (masks, base_key, jnp.full((n_tiles, TILE * TILE), -1, jnp.int32), values)
    return jax.lax.while_loop(lambda s: (s[0] != 0).any(), one_round, start)[1:]


def _pop_lowest_bit(masks: UInt32[Array, "C words"]) -> tuple[UInt32[Array, "C words"], Int[Array, " C"]]:
    """The masks without their lowest set bit, and the number of that bit (-1 for an empty mask)."""
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
    """Which clusters' bounding boxes touch which tile. Boxes are separable: rows and columns are masked separately."""
    nearest = functools.reduce(jnp.minimum, [-corner[2] for corner in corners])
    in_front = nearest > camera.near
    tiles, margin = grid.tiles, 0.01 + abs(grid.jitter)

    def span(axis, start, step):
        pixels = [(corner[axis] / jnp.maximum(-corner[2], camera.near) - start) / step for corner in corners]
        low = jnp.where(in_front, functools.reduce(jnp.minimum, pixels), -jnp.inf)
        high = jnp.where(in_front, functools.reduce(jnp.maximum, pixels), jnp.inf)
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
    """Index of a pixel in tile order, with [tiles pixels] flattened."""
    column, row = column.astype(jnp.int32), row.astype(jnp.int32)
    tile = (row // TILE) * tiles_per_side(size) + column // TILE
    return tile * TILE * TILE + (row % TILE) * TILE + column % TILE


def pixel_grid(grid: Grid) -> tuple[Float[Array, "tiles pixels"], Float[Array, "tiles pixels"]]:
    """Coordinates (column, row) of every sample in tile order."""
    tile = jnp.arange(grid.tiles**2)
    return grid.sample_positions(*_pixels(jnp.stack([tile % grid.tiles, tile // grid.tiles], axis=-1) * TILE))


def untile(tiled: Array, size: int) -> Array:
    """Reorders images from tile order [J tiles pixels ..] to [J size size ..]."""
    tiles, rest = tiles_per_side(size), tiled.shape[3:]
    grid = tiled.reshape(tiled.shape[0], tiles, tiles, TILE, TILE, *rest).swapaxes(2, 3)
    return grid.reshape(tiled.shape[0], tiles * TILE, tiles * TILE, *rest)[:, :size, :size]


def untile_blocks(tiled: Array, size: int) -> Array:
    """Reorders clips from tile order [N F tiles pixels] to blocks of 2 frames x 2 rows x 2 columns.

    Returns [N F/2 size/2 size/2 8]. One transposition is enough, since a tile holds whole blocks. F and `size` must be
    even.
    """
    n, f = tiled.shape[:2]
    tiles, half = tiles_per_side(size), TILE // 2
    split = tiled.reshape(n, f // 2, 2, tiles, tiles, half, 2, half, 2)
    blocks = split.transpose(0, 1, 3, 5, 4, 7, 2, 6, 8).reshape(n, f // 2, tiles * half, tiles * half, 8)
    return blocks[:, :, : size // 2, : size // 2]


def inverse_depth_of(depth_key: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The inverse depth (1 / metres) in a depth key, without the triangle's number in its lowest bits."""
    return jax.lax.bitcast_convert_type(depth_key & ~LANE_MASK, jnp.float32)


def empty_depth_key(camera: Camera, shape: tuple[int, ...]) -> Int[np.ndarray, "*shape"]:
    """Depth keys of an empty framebuffer: those of the far plane. Runs on the host, in NumPy."""
    return np.full(shape, np.float32(1 / camera.far).view(np.int32) & ~LANE_MASK, np.int32)
