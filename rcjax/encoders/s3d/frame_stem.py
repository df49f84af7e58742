"""S3D's first layers computed frame by frame, from clips in blocks of 4x4 pixels: the form for TPUs.

They are conv1 to maxpool_3a, with the same parameters and, up to rounding, the same results as the layers one after the
other. Two things make this form fast on a TPU:

- Blocks of 4x4 pixels of two frames have 96 channels, which nearly fill the 128 lanes of the matrix unit; the 24 of
  S3D's own layout do not. conv1 computes the four outputs of a block side by side, so that 256 come out.
- The activations of one frame of all clips stay in the vector memory, where those of all frames do not fit. Gates
  depend on means over all frames, but as they are positive, the last pool may come first.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Num

from rcjax.encoders.s3d.layers import convolve_3d, max_pool, same_padding

BLOCK_CHANNELS = 96  # 2 frames x 4 rows x 4 columns x 3 colours


def stem_by_frames(
    params: Any, clips: Num[Array, "n t h w 96"], size: int, dtype: DTypeLike
) -> Float[Array, "n t h' w' C"]:
    """Returns the output of maxpool_3a.

    Args:
        params: the video tower's parameters.
        clips: clips in blocks of 2 frames x 4 rows x 4 columns, as `render_clips` draws them; zeros beyond the frames.
        size: side of the frames in pixels, an even number. It says whether the last blocks are whole.
        dtype: dtype of the activations; means and gates are float32.
    """
    n_frames = clips.shape[1]
    if n_frames == 1:  # two are taken at a time
        clips = jnp.pad(clips, ((0, 0), (0, 1), (0, 0), (0, 0), (0, 0)))
    spatial = functools.partial(_spatial, params, clips, size=size, dtype=dtype)
    temporal = functools.partial(_temporal, params, dtype=dtype)

    def turn(frames: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Finishes frame i, given it and the one before it, after it has computed the one after it."""
        before, now = frames
        after = jnp.where(i + 1 < n_frames, spatial(jnp.minimum(i + 1, n_frames - 1)), 0)
        return (now, after), temporal((before, now, after))

    first = spatial(jnp.int32(0))
    _, (pooled, means) = lax.scan(turn, (jnp.zeros_like(first), first), jnp.arange(n_frames), unroll=UNROLL)
    gate = _gate(params["gating"]["fc0"], means.mean(0))
    return jnp.moveaxis(pooled * gate[:, None, None].astype(dtype), 0, 1)


UNROLL = 3  # turns of the loop at once; the frames that are carried over change places every third turn


def to_blocks(clips: Num[Array, "n t h w 24"]) -> Num[Array, "n t ceil(h/2) ceil(w/2) 96"]:
    """Turns clips in S3D's space-to-depth layout into blocks of 4x4 pixels, with zeros beyond the frames."""
    n, t, h, w, c = clips.shape
    padded = jnp.pad(clips, ((0, 0), (0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    split = padded.reshape(n, t, (h + 1) // 2, 2, (w + 1) // 2, 2, c)
    return split.transpose(0, 1, 2, 4, 3, 5, 6).reshape(n, t, (h + 1) // 2, (w + 1) // 2, 4 * c)


def _spatial(params: Any, clips: Array, i: Array, size: int, dtype: DTypeLike) -> Float[Array, "n 1 h w C"]:
    """Returns frame i after the first half of conv_2c. conv1 sees frame i + 1, too."""
    first = jnp.minimum(i, clips.shape[1] - 2)
    two_frames = lax.dynamic_slice_in_dim(clips, first, 2, axis=1)
    conv1 = _blocked(params["conv1"])  # given from outside of the loop, it takes room in the vector memory
    kernel = conv1["kernel"]
    alone = jnp.concatenate([jnp.zeros_like(kernel[:1]), kernel[:1]])  # for the last frame, which is the second then
    x = _convolve(two_frames, conv1 | {"kernel": jnp.where(first == i, kernel, alone)}, dtype)
    x = _pool_blocks(_zero_beyond(x, size // 2))
    return _convolve(_convolve(x, params["conv_2b"], dtype), params["conv_2c"]["spatial"], dtype)


def _temporal(params: Any, frames: tuple[Array, ...], dtype: DTypeLike) -> tuple[Array, Array]:
    """Returns the frame in the middle after conv_2c and maxpool_3a [n h w C], and the means before the pool [n C]."""
    x = _convolve(jnp.concatenate(frames, axis=1), params["conv_2c"]["temporal"], dtype)
    return max_pool(x, (1, 3, 3), (1, 2, 2), "native")[:, 0], x.mean((1, 2, 3), dtype=jnp.float32)


def _convolve(x: Num[Array, "n T H W I"], layer: Any, dtype: DTypeLike) -> Float[Array, "n t H W K"]:
    """Applies the convolution with these parameters, and ReLU. T is not padded, so that one frame is left."""
    kernel = layer["kernel"].astype(dtype)
    y = convolve_3d(x.astype(dtype), kernel, [(0, 0), *same_padding(kernel.shape[1:3])])
    return jax.nn.relu(y + layer["bias"].astype(dtype))


def _blocked(conv1: Any) -> dict[str, Array]:
    """Returns conv1's parameters over blocks of 2x2 cells, whose four outputs are side by side.

    The output of a block's cell (y, x) sees the cells y - 1 to y + 2 and x - 1 to x + 2, of the 6 x 6 from two before
    the block's first to three after it. The kernel [2 4 4 24 C] becomes [2 3 3 96 4C].
    """
    kernel = conv1["kernel"]
    placed = [
        jnp.pad(kernel, ((0, 0), (y + 1, 1 - y), (x + 1, 1 - x), (0, 0), (0, 0))) for y in range(2) for x in range(2)
    ]
    taps, _, _, cell, features = kernel.shape
    split = jnp.stack(placed, axis=-2).reshape(taps, 3, 2, 3, 2, cell, 4 * features)
    kernel = split.transpose(0, 1, 3, 2, 4, 5, 6).reshape(taps, 3, 3, 4 * cell, 4 * features)
    return {"kernel": kernel, "bias": jnp.tile(conv1["bias"], 4)}


def _zero_beyond(x: Float[Array, "n 1 h w 4C"], side: int) -> Float[Array, "n 1 h w 4C"]:
    """Zeros conv1's outputs beyond a frame of `side` x `side` cells. As all are positive, no maximum sees them."""
    if side % 2 == 0:
        return x
    cell = jnp.arange(x.shape[-1]) // (x.shape[-1] // 4)
    first = 2 * jnp.arange(x.shape[2])
    is_row, is_column = first[:, None] + cell // 2 < side, first[:, None] + cell % 2 < side
    return jnp.where(is_row[:, None] & is_column[None], x, 0)


def _pool_blocks(x: Float[Array, "n 1 h w 4C"]) -> Float[Array, "n 1 h w C"]:
    """Returns maxpool_2a of cells in blocks: windows of 3x3 cells, the first of which is the block's first.

    The maximum over rows comes first, as its halves of the channels begin at whole registers.
    """
    half = x.shape[-1] // 2
    rows = jnp.maximum(max_pool(x[..., :half], (1, 2, 1), (1, 1, 1), "native"), x[..., half:])
    left, right = rows[..., : half // 2], rows[..., half // 2 :]
    return jnp.maximum(max_pool(left, (1, 1, 2), (1, 1, 1), "native"), right)


def _gate(dense: Any, mean: Float[Array, "n C"]) -> Float[Array, "n C"]:
    return jax.nn.sigmoid(jnp.matmul(mean, dense["kernel"], precision=lax.Precision.HIGHEST) + dense["bias"])
