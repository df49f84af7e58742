"""The video tower: RGB clips to 512-vectors.

S3D with gating and a space-to-depth stem (Xie et al. 2018, arXiv:1712.04851), as trained with MIL-NCE on
HowTo100M (Miech et al. 2020, arXiv:1912.06430).
"""

import collections
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Num, UInt8

from rcjax.precision import in_32_bits
from rcjax.s3d.layers import Conv, Graph, InceptionBlock, MaxPool, SelfGating, SeparableConv

Clips = UInt8[Array | np.ndarray, "n T H W C"] | Float[Array | np.ndarray, "n T H W C"]  # C: 3, or 24 space-to-depth

EMBEDDING_SIZE = 512
BLOCK_WIDTHS: dict[str, tuple[int, int, int, int, int, int]] = {
    "mixed_3b": (64, 96, 128, 16, 32, 32),
    "mixed_3c": (128, 128, 192, 32, 96, 64),
    "mixed_4b": (192, 96, 208, 16, 48, 64),
    "mixed_4c": (160, 112, 224, 24, 64, 64),
    "mixed_4d": (128, 128, 256, 24, 64, 64),
    "mixed_4e": (112, 144, 288, 32, 64, 64),
    "mixed_4f": (256, 160, 320, 32, 128, 128),
    "mixed_5b": (256, 160, 320, 32, 128, 128),
    "mixed_5c": (384, 192, 384, 48, 128, 128),
}
VIDEO_LAYERS = (
    *(
        "conv1",
        "maxpool_2a",
        "conv_2b",
        "conv_2c",
        "gating",
        "maxpool_3a",
        "mixed_3b",
        "mixed_3c",
        "maxpool_4a",
    ),
    *("mixed_4b", "mixed_4c", "mixed_4d", "mixed_4e", "mixed_4f", "maxpool_5a", "mixed_5b", "mixed_5c"),
    *("pooled", "embedding"),
)


class VideoTower(nn.Module):
    """Clips in space-to-depth layout to embeddings.

    `dtype` is that of the activations; gate means, gates, the final mean and the final linear map are
    float32.
    """

    graph: Graph = "auto"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Num[Array, "n t h w 24"]) -> Float[Array, "n 512"]:
        own = {"graph": self.graph, "dtype": self.dtype}
        x = Conv(64, (2, 4, 4), **own, name="conv1")(x.astype(self.dtype))
        x = MaxPool((1, 3, 3), (1, 2, 2), self.graph, name="maxpool_2a")(x)
        x = Conv(64, (1, 1, 1), **own, name="conv_2b")(x)
        x = SeparableConv(192, **own, name="conv_2c")(x)
        x = SelfGating((192,), name="gating")(x)
        x = MaxPool((1, 3, 3), (1, 2, 2), self.graph, name="maxpool_3a")(x)
        for name, widths in BLOCK_WIDTHS.items():
            if name == "mixed_4b":
                x = MaxPool((3, 3, 3), (2, 2, 2), self.graph, name="maxpool_4a")(x)
            if name == "mixed_5b":
                x = MaxPool((2, 2, 2), (2, 2, 2), self.graph, name="maxpool_5a")(x)
            x = InceptionBlock(widths, **own, name=name)(x)
        pooled = x.mean((1, 2, 3), dtype=jnp.float32)
        self.sow("intermediates", "pooled", pooled)
        return nn.Dense(EMBEDDING_SIZE, precision=lax.Precision.HIGHEST, name="fc")(pooled)


def space_to_depth(frames: Num[Array | np.ndarray, "n T H W C"]) -> Num[Array | np.ndarray, "n T//2 H//2 W//2 24"]:
    """Each 2x2x2 block of pixels becomes one pixel of 24 channels, ((dt*2 + dh)*2 + dw)*3 + colour.

    Raises ValueError if T, H or W is odd: the released model has no meaning for the plane left over.
    """
    n, t, h, w, c = frames.shape
    odd = [f"{name}={size}" for name, size in (("T", t), ("H", h), ("W", w)) if size % 2]
    if odd or c != 3 or 0 in frames.shape:
        raise ValueError(
            f"got clips of shape {frames.shape}{', odd ' * bool(odd)}{', '.join(odd)}; S3D wants "
            "[n T H W 3] with T, H and W even and not 0: crop, pad or resample the frames."
        )
    x = frames.reshape(n, t // 2, 2, h // 2, 2, w // 2, 2, 3)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, t // 2, h // 2, w // 2, 24)


def prepare_clips(frames: Clips) -> Num[Array, "n t h w 24"]:
    """Clips as the tower takes them, in space-to-depth layout; those whose last axis is 24 already are."""
    if frames.ndim != 5:
        raise ValueError(
            f"clips of shape {frames.shape}; S3D wants [n T H W 3] or, space-to-depth, [n T/2 H/2 W/2 24]."
        )
    if frames.dtype != jnp.uint8 and not jnp.issubdtype(frames.dtype, jnp.floating):
        raise ValueError(f"clips of dtype {frames.dtype}; give uint8 in 0-255 or floats in [0, 1].")
    return jnp.asarray(frames if frames.shape[-1] == 24 else space_to_depth(frames))


def scale_pixels(params: Mapping[str, Any], pixel_scale: float | Array) -> Mapping[str, Any]:
    """The tower's parameters that make of clips what `params` make of clips times `pixel_scale`.

    The first kernel is scaled, not the clips: bfloat16 holds whole numbers to 256 exactly, but not their fractions.
    """
    conv1 = params["conv1"]
    return {**params, "conv1": {**conv1, "kernel": conv1["kernel"] * pixel_scale}}


def _prepare(params: Mapping[str, Any], frames: Clips, pixel_scale: float | Array) -> tuple[Mapping[str, Any], Array]:
    """The tower's parameters, and clips."""
    clips, video = prepare_clips(frames), params["video"]
    return (scale_pixels(video, pixel_scale) if clips.dtype == jnp.uint8 else video), clips


@in_32_bits
def embed_video(
    params: Mapping[str, Any],
    frames: Clips,
    *,
    dtype: Any = jnp.float32,
    pixel_scale: float | Array = 1 / 255,
    graph: Graph = "auto",
) -> Float[Array, "n 512"]:
    """S3D's embedding of each clip, float32 and not normalised.

    `frames` are RGB `[n T H W 3]` of any even T, H, W, or the same in space-to-depth layout
    `[n T/2 H/2 W/2 24]`. uint8 is multiplied by `pixel_scale`, floats are taken as they are; the network was
    trained on 0 to 1 (`pixel_scale=1.0` feeds it 0-255, as the RoboCLIP release does for Metaworld). `dtype` is
    that of the activations: bfloat16 halves memory on accelerators, and is slow on a CPU. float32 is meant in
    full: no TF32, no bfloat16 passes. `params` is `Encoder.params`; `graph` and `dtype` are static under jit.
    """
    video, clips = _prepare(params, frames, pixel_scale)
    return cast(Array, VideoTower(graph, dtype).apply({"params": video}, clips))


def video_intermediates(
    params: Mapping[str, Any],
    frames: Clips,
    *,
    dtype: Any = jnp.float32,
    pixel_scale: float | Array = 1 / 255,
    graph: Graph = "auto",
) -> collections.OrderedDict[str, Array]:
    """The output of every layer in `VIDEO_LAYERS`, in order, to compare ports; called as `embed_video`.

    `gating` is conv_2c gated; `mixed_5c` is the last feature map and `pooled` its mean, which the PyTorch
    port returns under the name mixed_5c.
    """
    video, clips = _prepare(params, frames, pixel_scale)
    embedding, state = VideoTower(graph, dtype).apply(
        {"params": video},
        clips,
        capture_intermediates=lambda module, _: len(module.path) == 1,
        mutable=["intermediates"],
    )
    seen = cast(dict[str, Any], state["intermediates"]) | {"embedding": (embedding,)}
    seen = {name: value["__call__"] if isinstance(value, dict) else value for name, value in seen.items()}
    return collections.OrderedDict((str(name), seen[name][0]) for name in VIDEO_LAYERS)
