"""The terms of rewards. Oracle: Metaworld's own reward utilities, in float64 NumPy."""

import numpy as np
import pytest
from metaworld.utils import reward_utils

from rcjax.envs.metaworld.rewards import hamacher_product, tolerance

ROUNDING = 1e-6  # float32 numbers of at most 1


@pytest.mark.parametrize("fall_off", ["gaussian", "long_tail"])
@pytest.mark.parametrize("lower, upper, margin", [(0.0, 0.05, 0.12), (0.1, 0.3, 0.5), (-0.2, 0.0, 0.0)])
def test_tolerance(fall_off, lower, upper, margin):
    x = np.linspace(-1, 1, 401).astype(np.float32)
    expected = reward_utils.tolerance(x, bounds=(lower, upper), margin=margin, sigmoid=fall_off)
    inside_edge = np.isclose(x, lower, atol=1e-6) | np.isclose(x, upper, atol=1e-6)  # float32 x may fall on either side
    ours = np.asarray(tolerance(x, lower, upper, margin, fall_off))
    np.testing.assert_allclose(ours[~inside_edge], expected[~inside_edge], atol=ROUNDING)


def test_hamacher_product():
    values = np.linspace(0, 1, 21)
    ours = np.asarray(hamacher_product(values[:, None], values[None]))
    expected = [[reward_utils.hamacher_product(a, b) for b in values] for a in values]
    np.testing.assert_allclose(ours, expected, atol=ROUNDING)
