"""Types and helpers that all readers share: RGB frames, transparency over white, and the error for a damaged file."""

import os
import pathlib
import struct
import zlib
from collections.abc import Generator
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rcjax.video_io.timeline import Timeline

Frames: TypeAlias = UInt8[np.ndarray, "F H W 3"]
Frame: TypeAlias = UInt8[np.ndarray, "H W 3"]
FrameReader: TypeAlias = Generator[Frame, None, Timeline]  # yields the frames, and returns when each is shown

DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error),
    Image.DecompressionBombError,
)  # raised by Pillow for damaged files


def on_white(rgba: UInt8[np.ndarray, "H W 4"]) -> Frame:
    """Blends straight (not premultiplied) alpha over white, rounded to the nearest byte."""
    if rgba[..., 3].min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    color, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def check_frames(frames: Frames) -> None:
    """Raises ValueError unless `frames` are uint8 [F H W 3] with at least one frame and one pixel."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"got frames of {frames.dtype} {list(frames.shape)}; expected uint8 [F H W 3], not empty.")


def damaged_file_error(path: str | os.PathLike[str], reason: object) -> ValueError:
    """Returns the error for a file that cannot be read in full, to be raised by the caller."""
    reason = " ".join(str(reason).split())
    return ValueError(f"{pathlib.Path(path)} cannot be read in full ({reason}); download, export or convert it again.")
