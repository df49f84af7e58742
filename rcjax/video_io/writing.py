"""Writes frames as GIF and MP4."""

import os
import pathlib
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image

from rcjax.files import write_atomically
from rcjax.video_io.frames import Frame, Frames, check_frames

GIF_MAX_FPS = 50  # browsers replace a delay below 2/100 s by 10/100 s


def write_video(path: str | os.PathLike[str], frames: Frames, fps: float | int) -> None:
    """Writes a `.gif` (256 colours per frame, at most 50 fps) or an `.mp4` (H.264, which plays everywhere).

    H.264 needs even sizes, so the last row or column of an odd frame is repeated. The file appears only when it is
    complete, and replaces an older one; its folder is created if necessary. Raises ValueError for frames that are not
    uint8 [F H W 3], for an unknown suffix, and for an `fps` that the format does not support.
    """
    path = pathlib.Path(path)
    check_frames(frames)
    if not 0 < fps < 1000:
        raise ValueError(f"fps={fps}; expected frames per second above 0 and below 1000.")
    require_writable(path)
    writer = {".gif": _write_gif, ".mp4": _write_mp4}[path.suffix.lower()]
    write_atomically(path, lambda part: writer(part, frames, fps))


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raises ValueError unless `write_video` supports the suffix of `path`; meant for a check before long work."""
    suffix = pathlib.Path(path).suffix
    if suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"{path} ends in {suffix!r}; videos are written as .gif or .mp4.")


def _write_mp4(path: pathlib.Path, frames: Frames, fps: float | int) -> None:
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        # Stated explicitly, because a player would otherwise guess them by the size of the frames.
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(path: pathlib.Path, frames: Frames, fps: float | int) -> None:
    """Writes a GIF through FFmpeg, because Pillow drops a frame that equals the one before it."""
    if fps > GIF_MAX_FPS:
        raise ValueError(f"fps={fps}; a GIF plays at most {GIF_MAX_FPS}: write an .mp4 or lower fps.")
    starts = [round(100 * i / fps) for i in range(len(frames) + 1)]  # in hundredths of a second, the unit of GIF
    options = {"final_delay": str(starts[-1] - starts[-2])}
    with av.open(f"file:{path}", "w", format="gif", options=options) as container:
        # gifflags 0 writes whole frames. Otherwise FFmpeg compares frames by index across different palettes.
        stream = container.add_stream("gif", rate=100, options={"gifflags": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "pal8"
        for frame, start in zip(frames, starts, strict=False):
            pal8 = _quantize(frame)
            picture = av.VideoFrame.from_ndarray(cast(Any, pal8), format="pal8")  # PyAV's stubs lack the pair
            picture.pts, picture.time_base = start, Fraction(1, 100)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _quantize(frame: Frame) -> tuple[UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "256 4"]]:
    """Returns indices and an opaque ARGB palette of up to 256 colours; exact if the frame has no more colours."""
    image = Image.fromarray(frame).quantize(256)
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colors), 1:] = colors
    return np.asarray(image), palette
