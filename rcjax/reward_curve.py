"""How the reward of a video grows while it is watched: the similarity of each prefix with the demonstrations."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from rcjax.config import TaskSpec, VideoConfig
from rcjax.encoders import Encoder
from rcjax.prefixes import Video, prefix_lengths
from rcjax.similarity import prefix_similarities


@dataclasses.dataclass(frozen=True)
class RewardCurve:
    """The similarity of each of K prefixes of a video with each of M demonstrations.

    `times` are the ends of the prefixes, in seconds if `is_timed`, else in frames. The last prefix is the whole video.
    """

    lengths: Int[np.ndarray, " K"]
    times: Float[np.ndarray, " K"]
    is_timed: bool
    values: Float[np.ndarray, "M K"]

    @property
    def unit(self) -> str:
        return "seconds" if self.is_timed else "frames"


def reward_curve(video: Video, specs: Sequence[TaskSpec], encoder: Encoder, config: VideoConfig) -> RewardCurve:
    """Returns the curve for prefixes of `prefix_lengths`; raises like `prefix_similarities`."""
    lengths = prefix_lengths(video.n_frames)
    values = prefix_similarities(video, lengths, specs, encoder, config)
    times = np.array([video.timeline.prefix(length).duration for length in lengths.tolist()])
    return RewardCurve(lengths, times, video.timeline.is_timed, values)
