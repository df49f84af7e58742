"""Statistics over several seeds: interquartile means and their bootstrap intervals.

Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv:2108.13264).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import trim_mean

RESAMPLES_PER_CALL = 100  # one call of SciPy for each resample takes seconds, and a single call takes much memory


def interquartile_mean(scores: Float[np.ndarray, "S *rest"]) -> Float[np.ndarray, "*rest"]:
    """Returns the mean of the scores without the lowest quarter and the highest quarter (rounded down)."""
    return trim_mean(scores, 0.25, axis=0)


def interquartile_mean_row(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the interquartile mean of each metric over the rows, of which each seed has one."""
    return {name: float(interquartile_mean(np.array([row[name] for row in rows]))) for name in rows[0]}


def stratified_bootstrap(
    scores: Float[np.ndarray, "tasks S *rest"], confidence: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Returns the lower and upper end of a percentile interval of the interquartile mean over the seeds of all tasks.

    The tasks are the strata: each resample draws S seeds of each task with replacement. With one task this is the
    ordinary bootstrap over seeds.

    Args:
        scores: The score of each seed of each task.
        confidence: The probability mass of the interval.
        n_resamples: The number of resamples.
        seed: The seed of the resamples.

    Raises:
        ValueError: There are no scores.
    """
    if scores.ndim < 2 or 0 in scores.shape:
        raise ValueError(f"scores of shape {scores.shape}; expected [tasks, seeds, ...], none of them 0.")
    rng, (n_tasks, n_seeds) = np.random.default_rng(seed), scores.shape[:2]
    tasks = np.arange(n_tasks)[:, None]
    means = []
    for n in np.diff(np.r_[0:n_resamples:RESAMPLES_PER_CALL, n_resamples]):
        drawn = scores[tasks, rng.integers(n_seeds, size=(n, n_tasks, n_seeds))]
        means.extend(interquartile_mean(np.moveaxis(drawn.reshape(n, n_tasks * n_seeds, *scores.shape[2:]), 1, 0)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return low, high
