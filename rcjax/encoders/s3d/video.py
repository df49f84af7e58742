"""The video tower, which maps RGB clips to embeddings (of 512 numbers in the released model).

It is S3D with gating and a space-to-depth stem (Xie et al. 2018, arXiv:1712.04851), as trained with MIL-NCE on
HowTo100M (Miech et al. 2020, arXiv:1912.06430).
"""

import collections
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Num, UInt8

from rcjax.encoders.network import Graph, Params
from rcjax.encoders.s3d.architecture import RELEASED, Architecture
from rcjax.encoders.s3d.frame_stem import BLOCK_CHANNELS, stem_by_frames
from rcjax.encoders.s3d.layers import Conv, InceptionBlock, MaxPool, SelfGating, SeparableConv
from rcjax.precision import in_32_bits

Clips = UInt8[Array | np.ndarray, "n T H W C"] | Float[Array | np.ndarray, "n T H W C"]
"""C is 3, or, in blocks of two frames, 24 (2x2 pixels, space-to-depth) or 96 (4x4 pixels)"""


class VideoTower(nn.Module):
    """Maps clips in space-to-depth layout, or in blocks of 4x4 pixels (see `frame_stem`), to embeddings.

    `size` is the side of the frames in pixels, which blocks of 4x4 pixels do not tell. `dtype` is the dtype of the
    activations; gate means, gates, the final mean and the final linear map are float32. `batch_norm` is for training,
    see `Conv`.
    """

    graph: Graph = "auto"
    dtype: DTypeLike = jnp.float32
    architecture: Architecture = RELEASED
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Num[Array, "n t h w C"], size: int | None = None) -> Float[Array, "n D"]:
        options: dict[str, Any] = {"graph": self.graph, "dtype": self.dtype, "batch_norm": self.batch_norm}
        if x.shape[-1] == BLOCK_CHANNELS:
            assert size is not None
            x = stem_by_frames(self.variables["params"], x, size, self.dtype)
        else:
            x = self._stem(x, options)
        pools = stage_pools(self.architecture)
        for name, widths in self.architecture.blocks:
            if name in pools:
                x = MaxPool(*STAGE_POOLS[pools[name]], self.graph, name=pools[name])(x)
            x = InceptionBlock(widths, **options, name=name)(x)
        pooled = x.mean((1, 2, 3), dtype=jnp.float32)
        self.sow("intermediates", "pooled", pooled)
        embedding = nn.Dense(self.architecture.embedding_size, precision=lax.Precision.HIGHEST, name="fc")(pooled)
        return scale_to_norm(embedding, self.architecture.embedding_norm)

    def _stem(self, x: Num[Array, "n t h w 24"], options: dict[str, Any]) -> Float[Array, "n t h' w' C"]:
        conv1, conv_2b, conv_2c = self.architecture.stem
        x = Conv(conv1, (2, 4, 4), **options, name="conv1")(x.astype(self.dtype))
        x = MaxPool((1, 3, 3), (1, 2, 2), self.graph, name="maxpool_2a")(x)
        x = Conv(conv_2b, (1, 1, 1), **options, name="conv_2b")(x)
        x = SeparableConv(conv_2c, **options, name="conv_2c")(x)
        x = SelfGating((conv_2c,), name="gating")(x)
        return MaxPool((1, 3, 3), (1, 2, 2), self.graph, name="maxpool_3a")(x)


STAGE_POOLS = {"maxpool_4a": ((3, 3, 3), (2, 2, 2)), "maxpool_5a": ((2, 2, 2), (2, 2, 2))}  # window, strides


def stage_pools(architecture: Architecture) -> dict[str, str]:
    """Returns the max pools between the stages, by the name of the block that each comes before."""
    pools = {}
    for stage in ("4", "5"):
        first = next((name for name, _ in architecture.blocks if name.startswith(f"mixed_{stage}")), None)
        if first is not None:
            pools[first] = f"maxpool_{stage}a"
    return pools


def video_layers(architecture: Architecture = RELEASED) -> tuple[str, ...]:
    """Returns the names of the video tower's layers, in order."""
    stem = ("conv1", "maxpool_2a", "conv_2b", "conv_2c", "gating", "maxpool_3a")
    pools = stage_pools(architecture)
    blocks = (layer for name, _ in architecture.blocks for layer in (pools.get(name), name) if layer is not None)
    return (*stem, *blocks, "pooled", "embedding")


VIDEO_LAYERS = video_layers()
"""The layers of the released model"""


def scale_to_norm(x: Float[Array, "n D"], norm: float | None) -> Float[Array, "n D"]:
    """Scales each row to this length; None returns it unchanged. A row of zeros stays one."""
    if norm is None:
        return x
    return x * (norm * lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + SMALLEST_SQUARE))


SMALLEST_SQUARE = 1e-12


def space_to_depth(frames: Num[Array | np.ndarray, "n T H W C"]) -> Num[Array | np.ndarray, "n T//2 H//2 W//2 24"]:
    """Turns each 2x2x2 block of pixels into one pixel of 24 channels, in the order ((dt*2 + dh)*2 + dw)*3 + colour.

    Raises ValueError if T, H or W is odd, because the released model does not define what happens to a plane left over.
    """
    n, t, h, w, c = frames.shape
    odd = [f"{name}={size}" for name, size in (("T", t), ("H", h), ("W", w)) if size % 2]
    if odd or c != 3 or 0 in frames.shape:
        odd_sizes = f", odd {', '.join(odd)}" if odd else ""
        raise ValueError(
            f"got clips of shape {frames.shape}{odd_sizes}; S3D needs "
            "[n T H W 3] with T, H and W even and not 0: crop, pad or resample the frames."
        )
    x = frames.reshape(n, t // 2, 2, h // 2, 2, w // 2, 2, 3)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, t // 2, h // 2, w // 2, 24)


def prepare_clips(frames: Clips, size: int | None = None) -> Num[Array, "n t h w C"]:
    """Returns clips in space-to-depth layout. Clips in blocks, whose last axis has size 24 or 96, stay as they are.

    Raises ValueError for another number of axes, for a dtype that is neither uint8 nor floating point, and for blocks
    of 4x4 pixels that are not those of frames of `size` x `size` pixels.
    """
    if frames.ndim != 5:
        raise ValueError(
            f"got clips of shape {frames.shape}; S3D needs [n T H W 3] or, space-to-depth, [n T/2 H/2 W/2 24]."
        )
    if frames.dtype != jnp.uint8 and not jnp.issubdtype(frames.dtype, jnp.floating):
        raise ValueError(f"got clips of dtype {frames.dtype}; give uint8 in 0-255 or floats in [0, 1].")
    if frames.shape[-1] == BLOCK_CHANNELS:
        if size is None or frames.shape[2:4] != (-(-size // 4),) * 2:
            raise ValueError(
                f"got clips of shape {frames.shape} and size={size}; blocks of 4x4 pixels need the side of the frames "
                "in pixels, and as many blocks a side as it needs."
            )
        return jnp.asarray(frames)
    return jnp.asarray(frames if frames.shape[-1] == 24 else space_to_depth(frames))


def scale_pixels(params: Params, pixel_scale: float | Array) -> Params:
    """Folds a multiplication of the clips by `pixel_scale` into the video tower's parameters.

    The first kernel is scaled instead of the clips because bfloat16 represents whole numbers up to 256 exactly, but not
    their fractions.
    """
    conv1 = params["conv1"]
    return {**params, "conv1": {**conv1, "kernel": conv1["kernel"] * pixel_scale}}


def _prepare(
    params: Params, frames: Clips, pixel_scale: float | Array, size: int | None = None
) -> tuple[Params, Array]:
    """Returns the video tower's parameters, scaled for uint8 clips, and the clips as the tower takes them."""
    clips, video = prepare_clips(frames, size), params["video"]
    return (scale_pixels(video, pixel_scale) if clips.dtype == jnp.uint8 else video), clips


@in_32_bits
def embed_video(
    params: Params,
    frames: Clips,
    *,
    dtype: DTypeLike = jnp.float32,
    pixel_scale: float | Array = 1 / 255,
    graph: Graph = "auto",
    architecture: Architecture = RELEASED,
    size: int | None = None,
) -> Float[Array, "n D"]:
    """Returns S3D's embedding of each clip, in float32 and not normalised.

    Args:
        params: `Encoder.params`.
        frames: RGB clips `[n T H W 3]` with any even T, H, W, or the same in space-to-depth layout
            `[n T/2 H/2 W/2 24]`, or in blocks of 4x4 pixels `[n T/2 ceil(H/4) ceil(W/4) 96]` (`render_clips`); uint8 is
            multiplied by `pixel_scale`, floats are used unchanged.
        dtype: dtype of the activations, static under jit. bfloat16 halves memory on accelerators, and is slow on a
            CPU. float32 uses full precision: no TF32, no bfloat16 passes.
        pixel_scale: factor of uint8 pixels. The network was trained on pixels from 0 to 1; `pixel_scale=1.0` feeds it
            0 to 255, as the RoboCLIP release does for Metaworld.
        graph: see `rcjax.encoders.s3d.layers`; static under jit.
        architecture: the sizes of the layers; static under jit.
        size: the frames' side in pixels, which has to be given with blocks of 4x4 pixels only.

    Raises ValueError for clips of another shape or dtype.
    """
    video, clips = _prepare(params, frames, pixel_scale, size)
    return cast(Array, VideoTower(graph, dtype, architecture).apply({"params": video}, clips, size))


def video_intermediates(
    params: Params,
    frames: Clips,
    *,
    dtype: DTypeLike = jnp.float32,
    pixel_scale: float | Array = 1 / 255,
    graph: Graph = "auto",
    architecture: Architecture = RELEASED,
) -> collections.OrderedDict[str, Array]:
    """Returns the output of every layer in `video_layers(architecture)`, in order, to compare it with other code's.

    The arguments are those of `embed_video`. `gating` is the gated output of conv_2c. `mixed_5c` is the last feature
    map, and `pooled` is its mean, which the PyTorch port returns under the name mixed_5c.
    """
    video, clips = _prepare(params, frames, pixel_scale)
    embedding, state = VideoTower(graph, dtype, architecture).apply(
        {"params": video},
        clips,
        capture_intermediates=lambda module, _: len(module.path) == 1,
        mutable=["intermediates"],
    )
    captured = cast(dict[str, Any], state["intermediates"]) | {"embedding": (embedding,)}
    captured = {name: value["__call__"] if isinstance(value, dict) else value for name, value in captured.items()}
    return collections.OrderedDict((str(name), captured[name][0]) for name in video_layers(architecture))
