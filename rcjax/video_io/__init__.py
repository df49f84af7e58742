"""Videos on disk to uint8 frames and back; host only.

Reads GIF, whatever of `VIDEO_SUFFIXES` FFmpeg decodes, animated PNG and WebP, and folders of pictures; writes GIF and
MP4. Frames are RGB, `frames_u8 [F H W 3]`, as a player shows them: upright, with square pixels, white where they are
transparent. What cannot be read in full is refused: decoders tend to hand out the frames before the damage as if
nothing had happened.
"""

import os
import pathlib

import numpy as np

from rcjax.video_io.clips import Clip, Fit, fit_clip, fit_frame
from rcjax.video_io.comparison import side_by_side
from rcjax.video_io.frames import Frame, FrameReader, Frames, damaged
from rcjax.video_io.pictures import ANIMATION_SUFFIXES, PICTURE_SUFFIXES, read_animation, read_folder
from rcjax.video_io.streams import read_stream
from rcjax.video_io.timeline import Timeline, frame_indices, frame_indices_in_time
from rcjax.video_io.writing import GIF_MAX_FPS, require_writable, write_video

__all__ = [
    "GIF_MAX_FPS",
    "MAX_BYTES",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Clip",
    "Fit",
    "Frame",
    "Frames",
    "fit_clip",
    "frame_indices",
    "read_clip",
    "read_video",
    "require_writable",
    "side_by_side",
    "write_video",
]

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
MAX_BYTES = 4 * 2**30  # of decoded frames held at once

_READABLE = (
    f"a GIF, a video ({' '.join(VIDEO_SUFFIXES)}), an animated PNG or WebP, or a folder of {' '.join(PICTURE_SUFFIXES)}"
)


def read_video(path: str | os.PathLike[str]) -> Frames:
    """All frames of a GIF, a video or animation, or a folder of pictures; how long each is shown is ignored.

    Pictures are taken in natural order (frame2 before frame10). Grey becomes RGB, transparency white; the rotation
    or mirroring noted beside a video or picture is applied, and pixels that are not square are made so by enlarging.
    Of several video streams the one that FFmpeg calls best is taken, never cover art. ValueError for what is
    missing, empty, damaged, of changing size, of an unknown type, or above `MAX_BYTES` (`read_clip` holds only what
    it keeps).
    """
    frames, size = [], 0
    for frame in _frames(path):
        frames.append(frame)
        size += frame.nbytes
        if size > MAX_BYTES:
            raise ValueError(
                f"{path} decodes to more than {MAX_BYTES / 2**30:.3g} GiB of frames; shorten or shrink it, "
                f'for instance with `ffmpeg -i IN -t 10 -vf "scale=-2:480" OUT.mp4`.'
            )
    return np.stack(frames)


def read_clip(path: str | os.PathLike[str], n_frames: int, size: int, fit: Fit = "resize") -> Clip:
    """The frames that are shown at i / n_frames of the video's duration, fitted as by `fit_clip`.

    Of a video whose frames are all shown equally long this is `fit_clip(read_video(path), n_frames, size, fit)`, but
    only the kept frames are held. Decodes the file twice, as the number of frames a file states is not always the
    number it holds.
    """
    picks = frame_indices_in_time(_timeline(path), n_frames)
    wanted = set(picks.tolist())
    kept = {i: fit_frame(frame, size, fit) for i, frame in enumerate(_frames(path)) if i in wanted}
    return np.stack([kept[i] for i in picks.tolist()])


def _timeline(path: str | os.PathLike[str]) -> Timeline:
    frames = _frames(path)
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return end.value


def _frames(path: str | os.PathLike[str]) -> FrameReader:
    """The frames one by one, at least one and all of one size."""
    path = pathlib.Path(path)
    reader, shape, i = _reader(path), None, 0
    while True:
        try:
            frame = next(reader)
        except StopIteration as end:
            if shape is None:
                raise damaged(path, "it holds no frames") from None
            return end.value
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(
                f"{path}: frame {i} is {_size(frame.shape)}, those before are {_size(shape)} "
                "(width x height); bring all frames to one size."
            )
        yield frame
        i += 1


def _reader(path: pathlib.Path) -> FrameReader:
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected {_READABLE}.")
    if not path.is_dir() and not path.is_file():  # a pipe or a device, which may never end
        raise ValueError(f"{path} is no file that can be read to its end; expected {_READABLE}.")
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
