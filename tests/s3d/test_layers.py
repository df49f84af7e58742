"""Tests of the layers. The oracles are slow NumPy definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.s3d import fold_batch_norm
from rcjax.s3d.layers import SelfGating, convolve, max_pool

GRAPHS = ("native", "cpu")
FLOAT32 = 1e-5  # sums of a few hundred terms of about 1, in float32


def numpy_convolution(x, kernel, pads):
    """Returns the valid cross-correlation of zero-padded x [n T H W I] in float64."""
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    t, h, w = (x.shape[i + 1] - kernel.shape[i] + 1 for i in range(3))
    y = np.zeros((len(x), t, h, w, kernel.shape[-1]))
    for (i, j, k), taps in zip(np.ndindex(kernel.shape[:3]), kernel.reshape(-1, *kernel.shape[3:]), strict=True):
        y += x[:, i : i + t, j : j + h, k : k + w] @ taps
    return y


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kernel_size", [(1, 3, 3), (3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("size", [(4, 5, 6), (1, 1, 2)])
def test_odd_kernels_pad_both_sides(kernel_size, size, graph):
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, *size, 3), random.randn(*kernel_size, 3, 4)
    expected = numpy_convolution(x, kernel, [(k // 2, k // 2) for k in kernel_size])
    got = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), graph)
    np.testing.assert_allclose(got, expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("graph", GRAPHS)
def test_conv1_is_padded_on_both_sides_and_loses_its_first_planes(graph):
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, 3, 5, 4, 24), random.randn(2, 4, 4, 24, 8)
    expected = numpy_convolution(x, kernel, [(1, 1), (2, 2), (2, 2)])[:, 1:, 1:, 1:]
    got = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), graph)
    np.testing.assert_allclose(got, expected, rtol=FLOAT32, atol=10 * FLOAT32)  # 768 terms


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(
    ("window", "strides"),
    [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2),) * 2, ((3, 3, 3), (1, 1, 1))],
)
@pytest.mark.parametrize("size", [(6, 7, 8), (5, 4, 3), (1, 2, 1)])
def test_max_pool_pads_low_by_half_the_overlap_and_keeps_partial_windows(window, strides, size, graph):
    x = np.random.RandomState(0).rand(2, *size, 3).astype(np.float32)
    shape = [-(-n // s) for n, s in zip(size, strides, strict=True)]
    expected = np.empty((2, *shape, 3), np.float32)
    for at in np.ndindex(*shape):
        starts = [i * s - (k - s) // 2 for i, s, k in zip(at, strides, window, strict=True)]
        seen = [slice(max(start, 0), start + k) for start, k in zip(starts, window, strict=True)]
        expected[(slice(None), *at)] = x[(slice(None), *seen)].max((1, 2, 3))
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), window, strides, graph), expected)


def test_folded_batch_norm_is_convolution_then_batch_norm():
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, 3, 4, 5, 6), random.randn(1, 3, 3, 6, 7).astype(np.float32)
    weight, bias, mean = random.randn(3, 7).astype(np.float32)
    var = random.rand(7).astype(np.float32) ** 4  # includes small variances, where epsilon matters
    y = numpy_convolution(x, kernel, [(0, 0), (1, 1), (1, 1)])
    expected = (y - mean) / np.sqrt(var + 1e-5) * weight + bias
    folded = fold_batch_norm(kernel, weight, bias, mean, var)
    got = numpy_convolution(x, folded["kernel"], [(0, 0), (1, 1), (1, 1)]) + folded["bias"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)  # float32 kernels, values up to about 100


def test_gates_of_bfloat16_activations_take_float32_means():
    """A sum in bfloat16 stops growing at 256, so the mean of 8192 ones would be 0.03."""
    x = jnp.ones((1, 8, 32, 32, 2), jnp.bfloat16)
    gating = SelfGating((2,))
    weights = {"params": {"fc0": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}}
    gated = jax.jit(gating.apply)(weights, x)
    assert gated.dtype == jnp.bfloat16
    np.testing.assert_allclose(gated[0, 0, 0, 0].astype(np.float32), jax.nn.sigmoid(1.0), rtol=2**-8)  # bfloat16


def test_groups_are_gated_by_their_own_means():
    random = np.random.RandomState(0)
    x, kernels = random.rand(2, 2, 3, 3, 5), (random.randn(2, 2), random.randn(3, 3))
    weights = {f"fc{i}": {"kernel": jnp.asarray(k), "bias": jnp.full(len(k), 0.5)} for i, k in enumerate(kernels)}
    mean = x.mean((1, 2, 3))
    logits = np.concatenate([mean[:, :2] @ kernels[0], mean[:, 2:] @ kernels[1]], -1) + 0.5
    expected = x / (1 + np.exp(-logits[:, None, None, None]))
    np.testing.assert_allclose(SelfGating((2, 3)).apply({"params": weights}, jnp.asarray(x)), expected, rtol=FLOAT32)
