"""Checks the seeds of a bank of resets."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array

from rcjax.checks import UINT32_MAX, short_repr


def checked_seeds(seeds: Any) -> list[int]:
    """Returns the seeds of a bank.

    Raises ValueError if there are none, and for a seed that NumPy's generators do not accept.
    """
    advice = "give a sequence of whole numbers, for example range(50)"
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Sequence | np.ndarray | Array):
        raise ValueError(f"seeds={short_repr(seeds)}; {advice}.")
    if len(seeds[:1]) == 0:
        raise ValueError(f"seeds is empty; a bank needs at least one seed: {advice}.")
    _checked_seed(seeds[-1], advice)  # this one first, as a range may be too long to go through
    return [_checked_seed(seed, advice) for seed in seeds]


def _checked_seed(seed: Any, advice: str) -> int:
    """Returns the seed as an int. Raises ValueError for anything but a whole number from 0 to 2^32 - 1."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise ValueError(f"seeds has {short_repr(seed)}; {advice}.") from None
    if isinstance(seed, bool | np.bool_) or not 0 <= number <= UINT32_MAX:
        raise ValueError(f"seeds has {short_repr(seed)}, which is not a whole number from 0 to {UINT32_MAX}; {advice}.")
    return number
