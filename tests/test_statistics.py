"""Interquartile means and bootstrap intervals. The oracle is SciPy."""

import numpy as np
import pytest
from scipy import stats

from rcjax.statistics import interquartile_mean, stratified_bootstrap


def test_interquartile_mean_leaves_out_the_outer_quarters():
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0])
    assert interquartile_mean(scores) == np.mean([2.0, 3.0, 4.0, 5.0])
    assert interquartile_mean(scores[:3]) == 1.0  # a quarter of three scores is less than one, so nothing is left out
    curves = np.random.default_rng(0).normal(size=(16, 5))
    np.testing.assert_allclose(interquartile_mean(curves), np.sort(curves, 0)[4:12].mean(0))


def test_interval_of_one_task_is_the_ordinary_bootstrap():
    scores = np.random.default_rng(1).normal(3.0, 2.0, size=(40, 3))
    low, high = stratified_bootstrap(scores[None], n_resamples=4000)
    for i in range(3):
        by_scipy = stats.bootstrap(
            (scores[:, i],), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile",
            n_resamples=4000, rng=np.random.default_rng(2),
        ).confidence_interval  # fmt: skip
        np.testing.assert_allclose([low[i], high[i]], [by_scipy.low, by_scipy.high], atol=0.06)


def test_strata_keep_tasks_apart():
    """Two tasks have constant scores: drawing across tasks would vary the mean, and drawing within each cannot."""
    scores = np.array([[1.0] * 8, [3.0] * 8])
    low, high = stratified_bootstrap(scores)
    assert low == high == 2.0


def test_more_confidence_is_a_wider_interval():
    scores = np.random.default_rng(3).normal(size=(1, 12))
    narrow, wide = stratified_bootstrap(scores, confidence=0.5), stratified_bootstrap(scores, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_scores_without_a_seed_are_refused():
    with pytest.raises(ValueError, match=r"expected \[tasks, seeds, ...\]"):
        stratified_bootstrap(np.zeros((2, 0)))
