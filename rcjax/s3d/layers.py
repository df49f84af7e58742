"""The four kinds of layers in S3D: convolution, max pool, self-gating and the inception block.

Activations are channels-last, `[n T H W C]`. There is no batch norm: it is folded into the kernel and bias of each
convolution when the weights are converted (`rcjax.s3d.weights`).

The same parameters can be run through two graphs, which are equal up to rounding:

- `native` uses 3-D convolutions and 3-D `reduce_window`, which are fast on TPUs and GPUs;
- `cpu` computes every separable step as a 2-D convolution or a maximum over one axis, about twice as fast on a CPU.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

Params: TypeAlias = Mapping[str, Any]  # nested by name: modules, then parameters, which are arrays
Graph = Literal["auto", "native", "cpu"]
Triple = tuple[int, int, int]
Padding = Sequence[tuple[int, int]]

BATCH_NORM_EPSILON = 1e-5  # as in the released PyTorch model


def resolve_graph(graph: Graph) -> Literal["native", "cpu"]:
    """Returns `graph`, where `auto` means `cpu` if JAX's default backend is a CPU, and `native` otherwise."""
    if graph == "auto":
        return "cpu" if jax.default_backend() == "cpu" else "native"
    if graph not in ("native", "cpu"):
        raise ValueError(f"graph={graph!r} is not one of 'auto', 'native', 'cpu'.")
    return graph


def same_padding(kernel_size: Sequence[int]) -> Padding:
    """Returns the padding (before, after) of each axis that keeps its size; an odd total pads one more after."""
    return [((k - 1) // 2, k // 2) for k in kernel_size]


def convolve(
    x: Float[Array, "n T H W I"], kernel: Float[Array, "kt kh kw I K"], graph: Graph
) -> Float[Array, "n T H W K"]:
    """Convolves with stride 1 and keeps T, H and W.

    For even kernels the extra zero plane comes last. That is equal to conv1 of the released model, which pads both
    sides and then drops the first plane of each axis.
    """
    precision = lax.Precision.HIGHEST if x.dtype == jnp.float32 else lax.Precision.DEFAULT
    if resolve_graph(graph) == "cpu":
        return _convolve_2d(x, kernel, precision)
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1, 1),
        padding=same_padding(kernel.shape[:3]),
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=precision,
    )


def _convolve_2d(x: Array, kernel: Array, precision: lax.Precision) -> Array:
    """Computes `convolve` as one 2-D convolution; the kernel's shape decides where the time axis goes."""
    n, t, h, w, _ = x.shape
    kt, kh, kw, _, features = kernel.shape
    pad_t, pad_h, pad_w = same_padding(kernel.shape[:3])
    if kh == kw == 1 and kt > 1:  # convolve over (time, pixels)
        x = x.reshape(n, t, h * w, -1)
        kernel, padding = kernel[:, 0], (pad_t, (0, 0))
    else:  # convolve over (height, width), with time in the batch and its taps in the channels
        padded = jnp.pad(x, ((0, 0), pad_t, (0, 0), (0, 0), (0, 0)))
        x = jnp.concatenate([padded[:, i : i + t] for i in range(kt)], axis=-1).reshape(n * t, h, w, -1)
        kernel, padding = kernel.transpose(1, 2, 0, 3, 4).reshape(kh, kw, -1, features), (pad_h, pad_w)
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=precision
    )
    return y.reshape(n, t, h, w, features)


def max_pool(x: Float[Array, "n T H W C"], window: Triple, strides: Triple, graph: Graph) -> Float[Array, "n t h w C"]:
    """Max-pools each axis to ceil(size / stride), with (window - stride) // 2 cells of padding at its start.

    The padding at the end is what the last window needs. This differs from 'SAME', which on odd sizes would pad one
    more at the start and shift every window.
    """
    if resolve_graph(graph) == "native":
        return _reduce_max(x, window, strides)
    for axis in range(3):  # a maximum over a box is separable
        if window[axis] > 1:
            sizes = [(window[i], strides[i]) if i == axis else (1, 1) for i in range(3)]
            x = _reduce_max(x, *zip(*sizes, strict=True))
    return x


def _reduce_max(x: Array, window: Sequence[int], strides: Sequence[int]) -> Array:
    padding = []
    for size, k, s in zip(x.shape[1:4], window, strides, strict=True):
        low = (k - s) // 2
        padding.append((low, (-(-size // s) - 1) * s + k - size - low))
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        window_dimensions=(1, *window, 1),
        window_strides=(1, *strides, 1),
        padding=((0, 0), *padding, (0, 0)),
    )


class Conv(nn.Module):
    """Convolution with folded batch norm, then ReLU.

    While the parameters are mutable (in `init` or `apply(..., mutable=["params"])`), the layer calibrates itself: it
    folds a batch norm with scale 1, bias 1 and the statistics of the given clips into kernel and bias. This is used
    for random weights only, see `random_encoder`.
    """

    features: int
    kernel_size: Triple
    graph: Graph
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        kernel = self.param("kernel", nn.initializers.he_normal(), (*self.kernel_size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.ones, (self.features,))
        y = convolve(x, kernel.astype(self.dtype), self.graph)
        if self.is_mutable_collection("params"):
            scale = lax.rsqrt(y.var((0, 1, 2, 3)) + BATCH_NORM_EPSILON)
            y = y * scale
            bias = 1 - y.mean((0, 1, 2, 3))
            self.put_variable("params", "kernel", kernel * scale)
            self.put_variable("params", "bias", bias)
        return nn.relu(y + bias.astype(self.dtype))


class SeparableConv(nn.Module):
    """A (1, 3, 3) convolution over space, then a (3, 1, 1) convolution over time."""

    features: int
    graph: Graph
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        x = Conv(self.features, (1, 3, 3), self.graph, self.dtype, name="spatial")(x)
        return Conv(self.features, (3, 1, 1), self.graph, self.dtype, name="temporal")(x)


class SelfGating(nn.Module):
    """Multiplies each channel by a sigmoid of a linear map of the channels' means over T, H and W.

    The channels are split into groups of the sizes `groups`, and each group has its own linear map. Means and gates are
    float32, whatever the dtype of the activations. Source: section 3.3 of S3D (arXiv:1712.04851).
    """

    groups: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W C"]) -> Float[Array, "n T H W C"]:
        mean = x.mean((1, 2, 3), dtype=jnp.float32)
        logits, start = [], 0
        for i, width in enumerate(self.groups):
            dense = nn.Dense(width, precision=lax.Precision.HIGHEST, name=f"fc{i}")
            logits.append(dense(mean[:, start : start + width]))
            start += width
        gate = nn.sigmoid(jnp.concatenate(logits, axis=-1))
        return x * gate[:, None, None, None].astype(x.dtype)


class MaxPool(nn.Module):
    """`max_pool` as a module, so that its output has a name among the intermediates."""

    window: Triple
    strides: Triple
    graph: Graph

    def __call__(self, x: Float[Array, "n T H W C"]) -> Float[Array, "n t h w C"]:
        return max_pool(x, self.window, self.strides, self.graph)


class InceptionBlock(nn.Module):
    """The inception block: four parallel branches, which are gated separately and concatenated.

    `widths` are numbers of channels: of branch 0 (1x1x1), of branch 1 reduced and at its output, of branch 2 reduced
    and at its output, and of branch 3 (pooled, then 1x1x1). The three 1x1x1 convolutions of the block's input are
    merged into one, `pointwise`.
    """

    widths: tuple[int, int, int, int, int, int]
    graph: Graph
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        b0, b1_in, b1_out, b2_in, b2_out, b3 = self.widths
        pointwise = Conv(b0 + b1_in + b2_in, (1, 1, 1), self.graph, self.dtype, name="pointwise")(x)
        y0, y1, y2 = jnp.split(pointwise, [b0, b0 + b1_in], axis=-1)
        y1 = SeparableConv(b1_out, self.graph, self.dtype, name="branch1")(y1)
        y2 = SeparableConv(b2_out, self.graph, self.dtype, name="branch2")(y2)
        y3 = max_pool(x, (3, 3, 3), (1, 1, 1), self.graph)
        y3 = Conv(b3, (1, 1, 1), self.graph, self.dtype, name="branch3")(y3)
        return SelfGating((b0, b1_out, b2_out, b3), name="gating")(jnp.concatenate([y0, y1, y2, y3], axis=-1))
