"""What several seeds say together: interquartile means and their bootstrap intervals.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv:2108.13264).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import trim_mean

BLOCK = 100  # resamples at a time: one call for each takes SciPy seconds, all at once take memory


def interquartile_mean(scores: Float[np.ndarray, "S *rest"]) -> Float[np.ndarray, "*rest"]:
    """The mean without the lowest and the highest quarter (rounded down) of the scores."""
    return trim_mean(scores, 0.25, axis=0)


def mean_row(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The interquartile mean of each metric over the seeds' rows."""
    return {name: float(interquartile_mean(np.array([row[name] for row in rows]))) for name in rows[0]}


def stratified_bootstrap(
    scores: Float[np.ndarray, "tasks S *rest"], confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Lower and upper end of the interquartile mean's percentile interval over all tasks' seeds.

    Each resample draws S seeds of each task with replacement: tasks are the strata. With one task it is the ordinary
    bootstrap over seeds.
    """
    if scores.ndim < 2 or 0 in scores.shape:
        raise ValueError(f"scores of shape {scores.shape}; expected [tasks, seeds, ...], none of them 0.")
    draw, (n_tasks, n_seeds) = np.random.default_rng(seed), scores.shape[:2]
    tasks = np.arange(n_tasks)[:, None]
    means = []
    for n in np.diff(np.r_[0:n_resamples:BLOCK, n_resamples]):
        drawn = scores[tasks, draw.integers(n_seeds, size=(n, n_tasks, n_seeds))]
        means.extend(interquartile_mean(np.moveaxis(drawn.reshape(n, n_tasks * n_seeds, *scores.shape[2:]), 1, 0)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return low, high
