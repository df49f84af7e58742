"""Whether a claim of the paper holds in runs of ours, by criteria that README.md states and that were set beforehand.

A claim is reproduced if the interval of what it says lies on its side, not reproduced if it lies on the other side, and
otherwise these runs cannot tell.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from rcjax.statistics import interquartile_mean, stratified_bootstrap

Outcome = Literal["reproduced", "not reproduced", "cannot tell"]
Scores = Float[np.ndarray, " S"]
N_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A claim, whether it was reproduced, and the numbers that decide it."""

    claim: str
    text: str
    outcome: Outcome
    why: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def outcome(self) -> Outcome:
        """Whether it is surely above zero."""
        if self.low > 0:
            return "reproduced"
        return "not reproduced" if self.high < 0 else "cannot tell"

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def difference(scores: Scores, baseline: Scores, factor: float = 1.0, seed: int = 0) -> Difference:
    """Returns the interquartile mean of the scores less `factor` times that of the baseline.

    The interval is a bootstrap over the seeds of both, which are drawn independently.
    """
    draw = np.random.default_rng(seed)
    resampled = _resampled(scores, draw) - factor * _resampled(baseline, draw)
    low, high = np.percentile(resampled, [2.5, 97.5])
    value = interquartile_mean(scores) - factor * interquartile_mean(baseline)
    return Difference(float(value), float(low), float(high))


def above(scores: Scores, threshold: float) -> Difference:
    """Returns the interquartile mean of the scores less a threshold, with its interval."""
    low, high = stratified_bootstrap(scores[None])
    return Difference(*(float(value - threshold) for value in (interquartile_mean(scores), low, high)))


def below(scores: Scores, threshold: float) -> Difference:
    """Returns a threshold less the interquartile mean of the scores, with its interval."""
    found = above(scores, threshold)
    return Difference(-found.value, -found.high, -found.low)


def _resampled(scores: Scores, draw: np.random.Generator) -> Float[np.ndarray, " B"]:
    drawn = draw.integers(len(scores), size=(len(scores), N_RESAMPLES))
    return np.asarray(interquartile_mean(scores[drawn]))


def withheld(verdict: Verdict, why: str) -> Verdict:
    """Returns the verdict without its outcome, for a reason."""
    return dataclasses.replace(verdict, outcome="cannot tell", why=f"{why}; {verdict.why}")


def every(outcomes: Sequence[Outcome]) -> Outcome:
    """Returns the outcome of a claim that says something of several tasks or rivals: each of them has to hold."""
    if "not reproduced" in outcomes:
        return "not reproduced"
    return "cannot tell" if "cannot tell" in outcomes or not outcomes else "reproduced"


def missing(claim: str, text: str, what: str = "runs are missing") -> Verdict:
    """Returns the verdict of a claim that was not tested."""
    return Verdict(claim, text, "cannot tell", what)
