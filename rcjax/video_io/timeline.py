"""When each frame of a video is shown, and which frames stand for it at even moments."""

import bisect
import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int

ROUNDING = Fraction(1, 1000)  # seconds; Matroska counts in milliseconds, and MP4 made from it keeps its rounding
END_ROUNDING = Fraction(1, 500)  # seconds; an MP4's edit list counts in the movie's ticks, often 1/600 or 1/1000
SHORTEST_DELAY = Fraction(1, 100)  # seconds; browsers take this and less for a mistake and show the frame for 0.1 s
MISTAKEN_DELAY = Fraction(1, 10)


@dataclasses.dataclass(frozen=True)
class Timeline:
    """The start of every frame, never decreasing, and the end of the last one, in units of `tick` seconds."""

    starts: Sequence[int]
    end: int
    tick: Fraction

    def is_even(self) -> bool:
        """Whether all frames are shown equally long, as far as the rounding of the timestamps tells."""
        n_gaps = len(self.starts) - 1
        if n_gaps < 1 or self.end <= self.starts[0]:
            return True  # one frame, or timestamps that say nothing
        total = self.starts[-1] - self.starts[0]
        rounding = max(1, ROUNDING / self.tick) * n_gaps
        if total < 3 * rounding:  # too coarse a clock to call unequal gaps rounded
            rounding = 0
        gaps = [later - earlier for earlier, later in itertools.pairwise(self.starts)]
        off_gap = max(abs(gap * n_gaps - total) for gap in gaps)
        off_line = max(abs((start - self.starts[0]) * n_gaps - i * total) for i, start in enumerate(self.starts))
        off_end = abs((self.end - self.starts[-1]) * n_gaps - total)
        return (
            (off_gap == 0 or off_gap < rounding)
            and off_line <= rounding
            and off_end <= max(1, END_ROUNDING / self.tick) * n_gaps
        )


def even_timeline(n_frames: int) -> Timeline:
    return Timeline(starts=range(n_frames), end=n_frames, tick=Fraction(1))


def timeline_of_delays(delays: Sequence[Fraction]) -> Timeline:
    """Of an animation's delays in seconds, with the mistaken ones replaced as browsers do."""
    shown = [delay if delay > SHORTEST_DELAY else MISTAKEN_DELAY for delay in delays]
    tick = Fraction(1, math.lcm(*(delay.denominator for delay in shown)))
    starts = [0]
    for delay in shown:
        starts.append(starts[-1] + int(delay / tick))
    return Timeline(starts=starts[:-1], end=starts[-1], tick=tick)


def frame_indices(n_available: int, n_frames: int) -> Int[np.ndarray, " F"]:
    """Indices floor(i * n_available / n_frames): evenly spaced, starting at the first.

    128 frames to 32 gives 0, 4, ..., 124, as in the paper; fewer frames than asked for are repeated evenly.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames={n_frames}; a clip has at least 1 frame.")
    return np.arange(n_frames) * n_available // n_frames


def frame_indices_in_time(timeline: Timeline, n_frames: int) -> Int[np.ndarray, " F"]:
    """The frames shown at i / n_frames of the video's duration; of even frames, those of `frame_indices`."""
    if timeline.is_even():
        return frame_indices(len(timeline.starts), n_frames)
    first, duration = timeline.starts[0], timeline.end - timeline.starts[0]
    starts = [(start - first) * n_frames for start in timeline.starts]
    return np.array([bisect.bisect_right(starts, i * duration) - 1 for i in range(n_frames)])
