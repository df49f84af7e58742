"""Packed colours in tile order to clips in blocks of 4x4 pixels of two frames: what a TPU is given.

Tiles hold whole blocks, so the order of the numbers changes inside of tiles alone. On a TPU a transposition of axes of
two or four pixels leaves most lanes of its registers empty, so the matrix unit moves the numbers: whole numbers up to
255 are exact in bfloat16, and a row of the matrix has a single 1.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8, UInt32

from rcjax.render.raster import TILE, Grid, pixel_grid, tiles_per_side

SIDE = 4  # pixels
CHANNELS = 2 * SIDE * SIDE * 3  # of two frames
_LANES = 128  # of a TPU's register; the channels of each of a tile's four blocks begin at the first one
_N_BLOCKS = (TILE // SIDE) ** 2
_N_NUMBERS = 2 * 3 * TILE * TILE  # of a tile of two frames


def blocks_of_tiles(colour: UInt32[Array, "N F tiles pixels"], size: int) -> UInt8[Array, "N F//2 h w 96"]:
    """Returns clips of frames of `size` x `size` pixels in blocks of 2 frames x 4 rows x 4 columns.

    There are as many blocks as cover the frames, and zeros beyond them. A block's 24 numbers of each 2x2 pixels come
    one after the other, in S3D's order: frame, row, column, colour. F must be even.
    """
    n, f, n_tiles, _ = colour.shape
    tiles, n_blocks = tiles_per_side(size), -(-size // SIDE)
    if size % SIDE:
        column, row = pixel_grid(Grid(size))
        colour = jnp.where((column < size) & (row < size), colour, 0)
    frames = colour.reshape(n, f // 2, 2, n_tiles, -1).transpose(2, 1, 3, 0, 4)  # S3D's convolutions have N before last
    numbers = [(frames[frame] >> shift) & 255 for frame in range(2) for shift in (0, 8, 16)]
    in_tile_order = jnp.concatenate([x.astype(jnp.bfloat16) for x in numbers], axis=-1)
    permuted = jnp.matmul(in_tile_order, jnp.asarray(_permutation(), jnp.bfloat16), preferred_element_type=jnp.float32)
    of_tile = TILE // SIDE
    split = permuted.astype(jnp.uint8).reshape(f // 2, tiles, tiles, n, of_tile, of_tile, _LANES)
    blocks = split.transpose(0, 1, 4, 2, 5, 3, 6).reshape(f // 2, tiles * of_tile, tiles * of_tile, n, _LANES)
    blocks = blocks[:, :n_blocks, :n_blocks, :, :CHANNELS]
    return blocks.transpose(3, 0, 1, 2, 4)


def _permutation() -> Float[np.ndarray, "from to"]:
    """Where each number of a tile goes: from (frame, colour, row, column) to 128 lanes for each of the four blocks."""
    frame, colour, row, column = np.indices((2, 3, TILE, TILE)).reshape(4, -1)
    block = row // SIDE * (TILE // SIDE) + column // SIDE
    part = row % SIDE // 2 * 2 + column % SIDE // 2
    channel = 24 * part + 3 * ((frame * 2 + row % 2) * 2 + column % 2) + colour
    matrix = np.zeros((_N_NUMBERS, _N_BLOCKS * _LANES), np.float32)
    matrix[np.arange(_N_NUMBERS), block * _LANES + channel] = 1
    return matrix
