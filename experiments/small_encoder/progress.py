"""How far an episode came, from 0 to 1: what the encoder learns to tell.

Success is 1. A failure has a share of `BEST_FAILURE`, so that a policy that is far from success has a slope to climb:
how much nearer to the object the hand was in the last quarter of the episode than at its start, and how much nearer to
the goal the object was.
"""

import numpy as np
from jaxtyping import Bool, Float

BEST_FAILURE = 0.5
REACHING_SHARE = 0.4
SMALLEST_DISTANCE = 0.02  # metres, or whatever the distance is in


def progress(
    reached: Float[np.ndarray, " n"] | None, moved: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Returns the progress of episodes, given the shares of `approach` for the hand and for the object.

    `reached` is None where the goal is for the hand itself.
    """
    share = moved if reached is None else REACHING_SHARE * reached + (1 - REACHING_SHARE) * moved
    return np.where(success, 1.0, BEST_FAILURE * share).astype(np.float32)


def approach(distance: Float[np.ndarray, "T n"], near: float) -> Float[np.ndarray, " n"]:
    """Returns which share of the first distance, beyond `near`, was overcome in the last quarter of the steps."""
    beyond = np.maximum(distance - near, 0)
    return np.clip(1 - beyond[len(beyond) * 3 // 4 :].mean(0) / np.maximum(beyond[0], SMALLEST_DISTANCE), 0, 1)
