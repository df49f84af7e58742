"""The four kinds of layers in S3D: convolution, max pool, self-gating and the inception block.

Activations are channels-last, `[n T H W C]`. There is no batch norm: it is folded into the kernel and bias of each
convolution when the weights are converted (`rcjax.encoders.s3d.weights`).

The same parameters can be run through two graphs, which are equal up to rounding:

- `native` uses 3-D convolutions and 3-D `reduce_window`, which are fast on TPUs;
- `separable` computes every separable step as a 2-D convolution or as maxima along one axis after another, about twice
  as fast on CPUs and GPUs.
"""

import functools
from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from rcjax import target
from rcjax.encoders.network import Graph

Triple = tuple[int, int, int]
Padding = Sequence[tuple[int, int]]

BATCH_NORM_EPSILON = 1e-5  # as in the released PyTorch model


def resolve_graph(graph: Graph) -> Literal["native", "separable"]:
    """Returns `graph`, where `auto` means `native` on a TPU, and `separable` elsewhere."""
    if graph == "auto":
        return "native" if target.platform() == "tpu" else "separable"
    if graph not in ("native", "separable"):
        raise ValueError(f"graph={graph!r} is not one of 'auto', 'native', 'separable'.")
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
    if resolve_graph(graph) == "separable":
        return _convolve_separable(x, kernel, _precision(x))
    return convolve_3d(x, kernel, same_padding(kernel.shape[:3]))


def convolve_3d(
    x: Float[Array, "n T H W I"], kernel: Float[Array, "kt kh kw I K"], padding: Padding
) -> Float[Array, "n t h w K"]:
    """Convolves with stride 1 by one 3-D convolution, with this padding of T, H and W."""
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1, 1),
        padding=padding,
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        precision=_precision(x),
    )


def _precision(x: Array) -> lax.Precision:
    return lax.Precision.HIGHEST if x.dtype == jnp.float32 else lax.Precision.DEFAULT


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_separable(x: Array, kernel: Array, precision: lax.Precision) -> Array:
    """Computes `_convolve_2d`. The gradient of a kernel over time alone is computed as matrix products.

    XLA computes it as a convolution with windows as large as the frames, which takes seven times as long.
    """
    return _convolve_2d(x, kernel, precision)


def _convolve_forward(x: Array, kernel: Array, precision: lax.Precision) -> tuple[Array, tuple[Array, Array]]:
    return _convolve_2d(x, kernel, precision), (x, kernel)


def _convolve_backward(
    precision: lax.Precision, residuals: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    if kernel.shape[1:3] != (1, 1):
        return jax.vjp(functools.partial(_convolve_2d, precision=precision), x, kernel)[1](gradient)
    (of_x,) = jax.vjp(lambda x: _convolve_2d(x, kernel, precision), x)[1](gradient)
    before, after = same_padding(kernel.shape[:1])[0]
    padded = jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
    rows = gradient.reshape(-1, gradient.shape[-1])
    taps = (padded[:, i : i + x.shape[1]].reshape(-1, x.shape[-1]) for i in range(kernel.shape[0]))
    of_kernel = jnp.stack([jnp.matmul(tap.T, rows, precision=precision) for tap in taps])
    return of_x, of_kernel.reshape(kernel.shape)


_convolve_separable.defvjp(_convolve_forward, _convolve_backward)


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
            x = _max_along(x, axis + 1, window[axis], strides[axis])
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_along(x: Array, axis: int, window: int, stride: int) -> Array:
    """Max-pools one axis. Its gradient is given to every cell of a window that has the maximum.

    XLA's own gradient of `reduce_window` takes five times as long on a CPU.
    """
    return _max_of_slices(x, axis, window, stride)


def _max_of_slices(x: Array, axis: int, window: int, stride: int) -> Array:
    """Max-pools one axis by maxima of shifted slices, which takes less time on a GPU than `reduce_window`."""
    low, n_windows = (window - stride) // 2, -(-x.shape[axis] // stride)
    cells = (n_windows - 1) * stride + 1  # from the first window's first cell to the last window's
    padded = _pad_axis(x, axis, low, cells + window - 1 - x.shape[axis] - low, -jnp.inf)
    shifted = (lax.slice_in_dim(padded, i, i + cells, stride, axis) for i in range(window))
    return functools.reduce(jnp.maximum, shifted)


def _max_along_forward(x: Array, axis: int, window: int, stride: int) -> tuple[Array, tuple[Array, Array]]:
    y = _max_of_slices(x, axis, window, stride)
    return y, (x, y)


def _max_along_backward(
    axis: int, window: int, stride: int, residuals: tuple[Array, Array], gradient: Array
) -> tuple[Array]:
    """Returns the gradient of the input. The cells of an axis are taken apart by their position modulo the stride.

    Cell c = stride a + r of the padded input lies in the windows a, a - 1, ..., whose first cells are stride cells
    apart, as long as the distance from the window's first cell is less than the window.
    """
    x, y = residuals
    size, n_windows, low = x.shape[axis], y.shape[axis], (window - stride) // 2
    n_groups = -(-(size + low) // stride)
    x = _pad_axis(x, axis, low, n_groups * stride - low - size, -jnp.inf)
    groups = x.reshape(*x.shape[:axis], n_groups, stride, *x.shape[axis + 1 :])
    parts = []
    for r in range(stride):
        cells = lax.index_in_dim(groups, r, axis + 1, keepdims=False)
        part = jnp.zeros_like(cells)
        for back in range((window - 1 - r) // stride + 1):  # the window that begins `back` groups before
            after = max(n_groups - back - n_windows, 0)
            maximum = _pad_axis(y, axis, back, after, jnp.inf)
            given = _pad_axis(gradient, axis, back, after, 0.0)
            maximum, given = (lax.slice_in_dim(array, 0, n_groups, axis=axis) for array in (maximum, given))
            part += jnp.where(cells == maximum, given, 0)
        parts.append(part)
    whole = jnp.stack(parts, axis + 1).reshape(x.shape)
    return (lax.slice_in_dim(whole, low, low + size, axis=axis),)


_max_along.defvjp(_max_along_forward, _max_along_backward)


def _pad_axis(x: Array, axis: int, before: int, after: int, value: float) -> Array:
    widths = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
    return jnp.pad(x, widths, constant_values=value)


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

    With `batch_norm`, the layer has a batch norm of its own instead of a bias, for training. It is applied with
    `mutable=["batch_stats"]`.
    """

    features: int
    kernel_size: Triple
    graph: Graph
    dtype: DTypeLike
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        kernel = self.param("kernel", nn.initializers.he_normal(), (*self.kernel_size, x.shape[-1], self.features))
        y = convolve(x, kernel.astype(self.dtype), self.graph)
        if self.batch_norm:
            return nn.relu(
                nn.BatchNorm(use_running_average=False, momentum=0.95, epsilon=BATCH_NORM_EPSILON, name="norm")(y)
            )
        bias = self.param("bias", nn.initializers.ones, (self.features,))
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
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        options = (self.graph, self.dtype, self.batch_norm)
        x = Conv(self.features, (1, 3, 3), *options, name="spatial")(x)
        return Conv(self.features, (3, 1, 1), *options, name="temporal")(x)


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
    batch_norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "n T H W I"]) -> Float[Array, "n T H W K"]:
        options = (self.graph, self.dtype, self.batch_norm)
        b0, b1_in, b1_out, b2_in, b2_out, b3 = self.widths
        pointwise = Conv(b0 + b1_in + b2_in, (1, 1, 1), *options, name="pointwise")(x)
        y0, y1, y2 = jnp.split(pointwise, [b0, b0 + b1_in], axis=-1)
        y1 = SeparableConv(b1_out, *options, name="branch1")(y1)
        y2 = SeparableConv(b2_out, *options, name="branch2")(y2)
        y3 = max_pool(x, (3, 3, 3), (1, 1, 1), self.graph)
        y3 = Conv(b3, (1, 1, 1), *options, name="branch3")(y3)
        return SelfGating((b0, b1_out, b2_out, b3), name="gating")(jnp.concatenate([y0, y1, y2, y3], axis=-1))
