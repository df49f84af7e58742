"""When each frame of a video is shown, and which frames are shown at evenly spaced times."""

import bisect
import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int

TIMESTAMP_ROUNDING = Fraction(1, 1000)  # seconds, the tick of Matroska; an MP4 made from it keeps this rounding
END_ROUNDING = Fraction(1, 500)  # seconds; the edit list of an MP4 counts in ticks of the movie, often 1/600 or 1/1000
MAX_IGNORED_DELAY = Fraction(1, 100)  # seconds; browsers treat this and shorter delays of animations as mistakes
REPLACEMENT_DELAY = Fraction(1, 10)  # seconds; what browsers use instead


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The start of every frame, never decreasing, and the end of the last one, in units of `tick` seconds.

    `is_timed` is False where nothing says how long frames are shown, as in a folder of pictures; then a frame takes one
    tick, which stands for no number of seconds.
    """

    starts: Sequence[int]
    end: int
    tick: Fraction
    is_timed: bool = True

    @property
    def duration(self) -> float:
        """The duration in seconds; if it is not timed, the number of frames."""
        return float((self.end - self.starts[0]) * self.tick)

    def prefix(self, n_frames: int) -> "Timeline":
        """Returns the timeline of the first `n_frames` frames, of which there is at least one."""
        end = self.starts[n_frames] if n_frames < len(self.starts) else self.end
        return dataclasses.replace(self, starts=self.starts[:n_frames], end=end)

    def is_even(self) -> bool:
        """Whether all frames have the same duration, up to the rounding of the timestamps."""
        n_gaps = len(self.starts) - 1
        if n_gaps < 1 or self.end <= self.starts[0]:
            return True  # a single frame, or timestamps without information
        total = self.starts[-1] - self.starts[0]
        rounding = max(1, TIMESTAMP_ROUNDING / self.tick) * n_gaps
        if total < 3 * rounding:  # the clock is too coarse to attribute unequal gaps to rounding
            rounding = 0
        gaps = [later - earlier for earlier, later in itertools.pairwise(self.starts)]
        gap_error = max(abs(gap * n_gaps - total) for gap in gaps)
        line_error = max(abs((start - self.starts[0]) * n_gaps - i * total) for i, start in enumerate(self.starts))
        end_error = abs((self.end - self.starts[-1]) * n_gaps - total)
        return (
            (gap_error == 0 or gap_error < rounding)
            and line_error <= rounding
            and end_error <= max(1, END_ROUNDING / self.tick) * n_gaps
        )


def even_timeline(n_frames: int) -> Timeline:
    """Returns the timeline of frames that are all shown equally long, for an unknown time."""
    return Timeline(starts=range(n_frames), end=n_frames, tick=Fraction(1), is_timed=False)


def timeline_of_delays(delays: Sequence[Fraction]) -> Timeline:
    """Returns the timeline of an animation from its delays in seconds; too short ones are replaced as browsers do."""
    delays_shown = [delay if delay > MAX_IGNORED_DELAY else REPLACEMENT_DELAY for delay in delays]
    tick = Fraction(1, math.lcm(*(delay.denominator for delay in delays_shown)))
    starts = [0]
    for delay in delays_shown:
        starts.append(starts[-1] + int(delay / tick))
    return Timeline(starts=starts[:-1], end=starts[-1], tick=tick)


def frame_indices(n_available: int, n_frames: int) -> Int[np.ndarray, " F"]:
    """Returns the indices floor(i * n_available / n_frames), which are evenly spaced and start at the first frame.

    Selecting 32 of 128 frames gives 0, 4, ..., 124, as in the paper. If `n_frames` exceeds `n_available`, frames are
    repeated evenly. Raises ValueError if `n_frames` is below 1.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames={n_frames}; a clip has at least 1 frame.")
    return np.arange(n_frames) * n_available // n_frames


def frame_indices_in_time(timeline: Timeline, n_frames: int) -> Int[np.ndarray, " F"]:
    """Returns the frames shown at i / n_frames of the video's duration.

    On an even timeline these are `frame_indices`.
    """
    if timeline.is_even():
        return frame_indices(len(timeline.starts), n_frames)
    first, duration = timeline.starts[0], timeline.end - timeline.starts[0]
    starts = [(start - first) * n_frames for start in timeline.starts]
    return np.array([bisect.bisect_right(starts, i * duration) - 1 for i in range(n_frames)])
