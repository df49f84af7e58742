"""Fits a video of any length and size to the clip that an encoder takes."""

from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rcjax.video_io.frames import Frame, Frames, check_frames
from rcjax.video_io.timeline import frame_indices

Clip: TypeAlias = UInt8[np.ndarray, "{n_frames} {size} {size} 3"]  # in terms of the annotated function's arguments
Fit: TypeAlias = Literal["resize", "crop", "stretch"]


def fit_clip(frames: Frames, n_frames: int, size: int, fit: Fit = "resize") -> Clip:
    """Returns a clip [n_frames size size 3] of a video; frames are selected by `frame_indices`.

    `fit="resize"` scales the largest centred square. `fit="stretch"` scales the whole frame and changes its aspect
    ratio. `fit="crop"` takes the `size` x `size` pixels in the centre without scaling, as the release does. Scaling
    uses Lanczos with antialiasing; a frame that has the right size already is returned unchanged.

    Raises ValueError for frames that are not uint8 [F H W 3], for `n_frames` or `size` below 1, for an unknown `fit`,
    and for a crop that is larger than the frames.
    """
    check_frames(frames)
    indices = frame_indices(len(frames), n_frames)
    fitted = {i: fit_frame(frames[i], size, fit) for i in set(indices.tolist())}
    return np.stack([fitted[i] for i in indices.tolist()])


def fit_frame(frame: Frame, size: int, fit: Fit) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """Fits one frame as `fit_clip` does."""
    height, width = frame.shape[:2]
    if size < 1:
        raise ValueError(f"size={size}; frames have at least 1 pixel on a side.")
    if fit == "crop":
        if min(height, width) < size:
            raise ValueError(
                f"frames of {width}x{height} are smaller than the {size}x{size} to crop; use fit='resize'."
            )
        top, left = (height - size) // 2, (width - size) // 2
        return frame[top : top + size, left : left + size]
    if fit == "resize":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        frame = frame[top : top + side, left : left + side]
    elif fit != "stretch":
        raise ValueError(f"fit={fit!r}; expected 'resize', 'crop' or 'stretch'.")
    if frame.shape[:2] == (size, size):
        return frame
    return np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.LANCZOS))
