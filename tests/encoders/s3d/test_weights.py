"""Tests folding of batch norm. The oracle is batch norm in float64."""

import re
import warnings

import numpy as np
import pytest

from rcjax.encoders.s3d import fold_batch_norm, params_from_torch
from rcjax.encoders.s3d.layers import BATCH_NORM_EPSILON

PARTS = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("variance", [0.0, 1e-45, 1e-30, 1.0, 3e38])
def test_folded_batch_norm_is_batch_norm(variance):
    """Tests a 1x1x1 convolution; float32 can represent the result for every variance."""
    draw = np.random.default_rng(0)
    kernel, x = draw.standard_normal((3, 4)).astype(np.float32), draw.standard_normal((5, 3))
    weight, bias, mean = draw.standard_normal((3, 4)).astype(np.float32)
    var = np.full(4, variance, np.float32)
    folded = fold_batch_norm(kernel, weight, bias, mean, var)
    expected = (x @ kernel - mean) / np.sqrt(var.astype(np.float64) + BATCH_NORM_EPSILON) * weight + bias
    # float32 kernels, and sums that cancel
    np.testing.assert_allclose(
        x @ folded["kernel"].astype(np.float64) + folded["bias"], expected, atol=1e-6 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"conv1.conv1.weight": 3e38, "conv1.bn1.running_var": 0}, "conv1.bn1 into conv1.conv1.weight"),
        ({"conv1.bn1.weight": 3e38, "conv1.bn1.running_var": 0}, "conv1.bn1 into conv1.conv1.weight"),
        ({"conv_2c.bn2.running_mean": -3e38, "conv_2c.bn2.running_var": 0}, "conv_2c.bn2 into conv_2c.conv2.weight"),
        ({"conv_2b.bn1.running_var": -1}, "conv_2b.bn1 into conv_2b.conv1.weight"),
    ],
)
def test_batch_norm_that_does_not_fold_is_named(changes, named, state):
    """NumPy prints no warnings of its own."""
    damaged = state | {name: np.full_like(state[name], value) for name, value in changes.items()}
    with warnings.catch_warnings(), pytest.raises(ValueError, match=re.escape(f"folding batch norm {named} gives")):
        warnings.simplefilter("error")
        params_from_torch(damaged)


def test_list_of_batch_norms_that_do_not_fold_is_cut(state):
    changed = {name: np.full_like(array, -1) for name, array in state.items() if name.endswith("running_var")}
    with pytest.raises(ValueError, match=r"conv1\.bn1 into conv1\.conv1\.weight, .* and \d+ more gives") as error:
        params_from_torch(state | changed)
    assert len(str(error.value)) < 400
