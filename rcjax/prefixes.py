"""Clips of growing prefixes of a video, the longest of which is the whole video."""

import dataclasses
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from rcjax.config import VideoConfig
from rcjax.video_io import (
    Frame,
    Frames,
    Timeline,
    check_frames,
    even_timeline,
    fit_frame,
    frame_indices_in_time,
    read_frames,
    read_timeline,
)

MAX_PREFIXES = 32


@dataclasses.dataclass(frozen=True)
class Video:
    """A video that is read where its frames are needed.

    `read` takes indices of frames and a function, and returns these frames after the function, by their index.
    """

    timeline: Timeline
    read: Callable[[Collection[int], Callable[[Frame], Frame]], dict[int, Frame]]

    @property
    def n_frames(self) -> int:
        return len(self.timeline.starts)


def open_video(video: str | os.PathLike[str] | Frames) -> Video:
    """Returns the video of a file, of a folder of pictures, or of frames uint8 [F H W 3].

    Raises ValueError for a file that is missing or unreadable, and for an array of another shape or dtype.
    """
    if isinstance(video, str | os.PathLike):
        path = Path(video)
        return Video(read_timeline(path), lambda indices, transform: read_frames(path, indices, transform))
    frames = np.asarray(video)
    check_frames(frames)
    return Video(even_timeline(len(frames)), lambda indices, transform: {i: transform(frames[i]) for i in indices})


def prefix_lengths(n_frames: int, max_prefixes: int = MAX_PREFIXES) -> Int[np.ndarray, " K"]:
    """Returns the numbers of frames of the prefixes, from one frame to all of them, as evenly spaced as possible."""
    return np.linspace(1, n_frames, min(n_frames, max_prefixes)).round().astype(int)


def prefix_clips(
    video: Video, lengths: Int[np.ndarray, " K"], config: VideoConfig
) -> Iterator[UInt8[np.ndarray, "F H W 3"]]:
    """Returns the clip of each prefix, resampled as `read_clip` does it for a whole video.

    All frames that the clips need are read at once, and each is held in memory once.
    """
    selected = [clip_indices(video.timeline.prefix(length), config.n_frames).tolist() for length in lengths.tolist()]
    fitted = video.read(set().union(*selected), lambda frame: fit_frame(frame, config.size, "resize"))
    return (np.stack([fitted[i] for i in indices]) for indices in selected)


def whole_clip(video: Video, config: VideoConfig) -> UInt8[np.ndarray, "F H W 3"]:
    """Returns the clip of the whole video."""
    return next(prefix_clips(video, np.array([video.n_frames]), config))


def clip_indices(timeline: Timeline, n_frames: int) -> Int[np.ndarray, " F"]:
    """Returns the frames of a clip, evenly spaced in time. The only frame of a clip is the last, as in an episode's.

    (`VideoConfig.kept_steps` has those of an episode.)
    """
    if n_frames == 1:
        return np.array([len(timeline.starts) - 1])
    return frame_indices_in_time(timeline, n_frames)
