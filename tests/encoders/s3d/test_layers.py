"""Tests of the layers. The oracles are slow NumPy definitions (`slow`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.s3d import fold_batch_norm
from rcjax.encoders.s3d.layers import BATCH_NORM_EPSILON, Conv, SelfGating, convolve, max_pool
from tests.encoders.s3d import slow

GRAPHS = ("native", "separable")
FLOAT32 = 1e-5  # sums of a few hundred terms of about 1, in float32


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kernel_size", [(1, 3, 3), (3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("size", [(4, 5, 6), (1, 1, 2)])
def test_odd_kernels_pad_both_sides(kernel_size, size, graph):
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, *size, 3), random.randn(*kernel_size, 3, 4)
    expected = slow.convolution(x, kernel, [(k // 2, k // 2) for k in kernel_size])
    got = convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), graph)
    np.testing.assert_allclose(got, expected, rtol=FLOAT32, atol=FLOAT32)


@pytest.mark.parametrize("graph", GRAPHS)
def test_conv1_is_padded_on_both_sides_and_loses_its_first_planes(graph):
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, 3, 5, 4, 24), random.randn(2, 4, 4, 24, 8)
    expected = slow.convolution(x, kernel, [(1, 1), (2, 2), (2, 2)])[:, 1:, 1:, 1:]
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
    expected = slow.max_pool(x, window, strides)
    assert expected.shape == (2, *(-(-n // s) for n, s in zip(size, strides, strict=True)), 3)
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), window, strides, graph), expected)


def test_folded_batch_norm_is_convolution_then_batch_norm():
    random = np.random.RandomState(0)
    x, kernel = random.randn(2, 3, 4, 5, 6), random.randn(1, 3, 3, 6, 7).astype(np.float32)
    weight, bias, mean = random.randn(3, 7).astype(np.float32)
    var = random.rand(7).astype(np.float32) ** 4  # includes small variances, where epsilon matters
    y = slow.convolution(x, kernel, [(0, 0), (1, 1), (1, 1)])
    expected = (y - mean) / np.sqrt(var + 1e-5) * weight + bias
    folded = fold_batch_norm(kernel, weight, bias, mean, var)
    got = slow.convolution(x, folded["kernel"], [(0, 0), (1, 1), (1, 1)]) + folded["bias"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)  # float32 kernels, values up to about 100


@pytest.mark.parametrize("graph", GRAPHS)
def test_in_training_batch_norm_takes_the_statistics_of_the_batch_and_remembers_them(graph):
    """Oracle: batch norm in float64; running averages keep 95 % of what they were."""
    random = np.random.RandomState(0)
    x = jnp.asarray(random.rand(2, 3, 4, 5, 6), jnp.float32)
    conv = Conv(7, (1, 3, 3), graph, jnp.float32, batch_norm=True)
    kernel = jnp.asarray(random.randn(1, 3, 3, 6, 7), jnp.float32)
    scale, bias, mean, var = random.rand(4, 7).astype(np.float32) + 0.5
    variables = {
        "params": {"kernel": kernel, "norm": {"scale": scale, "bias": bias}},
        "batch_stats": {"norm": {"mean": mean, "var": var}},
    }
    assert jax.tree.map(np.shape, conv.init(jax.random.key(0), x)) == jax.tree.map(np.shape, variables)
    got, changed = conv.apply(variables, x, mutable=["batch_stats"])
    y = slow.convolution(np.asarray(x), np.asarray(kernel), [(0, 0), (1, 1), (1, 1)])
    of_batch = {"mean": y.mean((0, 1, 2, 3)), "var": y.var((0, 1, 2, 3))}
    expected = (y - of_batch["mean"]) / np.sqrt(of_batch["var"] + BATCH_NORM_EPSILON) * scale + bias
    np.testing.assert_allclose(got, np.maximum(expected, 0), atol=10 * FLOAT32)  # statistics of 120 numbers about 5
    for name, before in (("mean", mean), ("var", var)):
        remembered = 0.95 * before + 0.05 * of_batch[name]
        np.testing.assert_allclose(changed["batch_stats"]["norm"][name], remembered, rtol=10 * FLOAT32)


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
