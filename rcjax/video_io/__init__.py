"""Reads videos from disk as uint8 frames, and writes them. All functions run on the host.

The readers take GIFs, files of `VIDEO_SUFFIXES` that FFmpeg can decode, animated PNG and WebP, and folders of pictures;
the writers make GIF and MP4. Frames are RGB, uint8 `[F H W 3]`, as a player shows them: upright, with square pixels,
and white where they are transparent. A file that cannot be read in full is refused, because decoders tend to return the
frames before the damage without an error.
"""

import os
import pathlib
from collections.abc import Callable, Collection

import numpy as np

from rcjax.video_io.clips import Clip, Fit, fit_clip, fit_frame
from rcjax.video_io.comparison import side_by_side
from rcjax.video_io.frames import Frame, FrameReader, Frames, check_frames, damaged_file_error
from rcjax.video_io.pictures import ANIMATION_SUFFIXES, PICTURE_SUFFIXES, read_animation, read_folder
from rcjax.video_io.streams import read_stream
from rcjax.video_io.timeline import Timeline, even_timeline, frame_indices, frame_indices_in_time
from rcjax.video_io.writing import GIF_MAX_FPS, require_writable, write_video

__all__ = [
    "ANIMATION_SUFFIXES",
    "GIF_MAX_FPS",
    "MAX_BYTES",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "Fit",
    "Frame",
    "Frames",
    "Timeline",
    "check_frames",
    "even_timeline",
    "fit_clip",
    "fit_frame",
    "frame_indices",
    "frame_indices_in_time",
    "read_clip",
    "read_frames",
    "read_timeline",
    "read_video",
    "require_writable",
    "side_by_side",
    "write_video",
]

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
MAX_BYTES = 4 * 2**30  # of decoded frames in memory at once

_READABLE = (
    f"a GIF, a video ({' '.join(VIDEO_SUFFIXES)}), an animated PNG or WebP, or a folder of {' '.join(PICTURE_SUFFIXES)}"
)


def read_video(path: str | os.PathLike[str]) -> Frames:
    """Returns all frames of a GIF, a video or animation, or a folder of pictures; their durations are ignored.

    Pictures are read in natural order (frame2 before frame10). Grey becomes RGB, and transparency becomes white. A
    rotation or mirroring in the metadata of a video or picture is applied, and frames whose pixels are not square are
    enlarged until they are. Of several video streams, the one that FFmpeg considers best is read, but never cover art.

    Raises ValueError if `path` is missing, empty, damaged or of unknown type, if the size of its frames changes, or if
    they exceed `MAX_BYTES` (`read_clip` has no such limit, because it holds only the frames that it returns).
    """
    frames, size = [], 0
    for frame in _iterate_frames(path):
        frames.append(frame)
        size += frame.nbytes
        if size > MAX_BYTES:
            raise ValueError(
                f"{path} decodes to more than {MAX_BYTES / 2**30:.3g} GiB of frames; shorten or shrink it, "
                f'for instance with `ffmpeg -i IN -t 10 -vf "scale=-2:480" OUT.mp4`.'
            )
    return np.stack(frames)


def read_clip(path: str | os.PathLike[str], n_frames: int, size: int, fit: Fit = "resize") -> Clip:
    """Returns the frames that are shown at i / n_frames of the video's duration, fitted as by `fit_clip`.

    If all frames of the video have the same duration, this equals `fit_clip(read_video(path), n_frames, size, fit)`,
    but only the selected frames are held in memory. The file is decoded twice, because the number of frames in its
    header is not always right. Raises ValueError like `read_video` and `fit_clip`.

    Example:
        clip = read_clip("demonstration.mp4", n_frames=32, size=250)  # uint8 [32 250 250 3]
    """
    indices = frame_indices_in_time(read_timeline(path), n_frames).tolist()
    fitted = read_frames(path, set(indices), lambda frame: fit_frame(frame, size, fit))
    return np.stack([fitted[i] for i in indices])


def read_frames(
    path: str | os.PathLike[str], indices: Collection[int], transform: Callable[[Frame], Frame]
) -> dict[int, Frame]:
    """Returns the frames with these indices, each after `transform`, by index; no other frame is held in memory.

    Nothing after the last of them is decoded; `read_timeline` checks the whole file. Raises ValueError like
    `read_video`.
    """
    wanted, found = set(indices), {}
    for i, frame in enumerate(_iterate_frames(path)):
        if i in wanted:
            found[i] = transform(frame)
        if len(found) == len(wanted):
            break
    return found


def read_timeline(path: str | os.PathLike[str]) -> Timeline:
    """Decodes the whole file and returns when each frame is shown. Raises ValueError like `read_video`."""
    frames = _iterate_frames(path)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return end.value


def _iterate_frames(path: str | os.PathLike[str]) -> FrameReader:
    """Yields the frames, and raises ValueError if there are none or if their sizes differ."""
    path = pathlib.Path(path)
    reader, shape, i = _choose_reader(path), None, 0
    while True:
        try:
            frame = next(reader)
        except StopIteration as end:
            if shape is None:
                raise damaged_file_error(path, "it holds no frames") from None
            return end.value
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(
                f"{path}: frame {i} is {_size(frame.shape)}, the frames before it are {_size(shape)} "
                "(width x height); bring all frames to one size."
            )
        yield frame
        i += 1


def _choose_reader(path: pathlib.Path) -> FrameReader:
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected {_READABLE}.")
    if not path.is_dir() and not path.is_file():  # a pipe or a device, which may never end
        raise ValueError(f"{path} is not a regular file; expected {_READABLE}.")
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_folder(path)
    if suffix == ".gif" or suffix in VIDEO_SUFFIXES:
        return read_stream(path)
    if suffix in ANIMATION_SUFFIXES or suffix in PICTURE_SUFFIXES:
        return read_animation(path)
    raise ValueError(f"{path} ends in {path.suffix!r}; expected {_READABLE}: convert it to .mp4.")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
