"""Places two videos beside each other, so that a person can compare them."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from rcjax.video_io.frames import Frames, check_frames
from rcjax.video_io.timeline import frame_indices


def side_by_side(
    a: UInt8[np.ndarray, "Fa Ha Wa 3"],
    b: UInt8[np.ndarray, "Fb Hb Wb 3"],
    labels: tuple[str, str] | None = None,
    gap: int = 8,
    min_height: int = 256,
) -> Frames:
    """Returns a video that shows `a` and `b` beside each other on white, each under its label.

    Both are scaled to the larger height, which is at least `min_height` pixels, by nearest neighbour and with their
    aspect ratios. `gap` is the width in pixels of the white strip between them. The shorter video is slowed down evenly
    (`frame_indices`), so that both start and end together.
    """
    check_frames(a)
    check_frames(b)
    height = max(min_height, a.shape[1], b.shape[1])
    n_frames = max(len(a), len(b))
    columns = [_resize_nearest(frames, height)[frame_indices(len(frames), n_frames)] for frames in (a, b)]
    if labels is not None:
        columns = [
            np.concatenate([_label_strip(text, column), column], axis=1)
            for text, column in zip(labels, columns, strict=True)
        ]
    spacer = np.full((n_frames, columns[0].shape[1], gap, 3), 255, np.uint8)
    return np.concatenate([columns[0], spacer, columns[1]], axis=2)


def _resize_nearest(frames: Frames, height: int) -> UInt8[np.ndarray, "F {height} width 3"]:
    """Scales frames to `height` pixels by nearest neighbour."""
    _, old_height, old_width, _ = frames.shape
    width = max(1, round(old_width * height / old_height))
    rows = np.arange(height) * old_height // height
    columns = np.arange(width) * old_width // width
    return frames[:, rows[:, None], columns]


def _label_strip(text: str, below: Frames) -> UInt8[np.ndarray, "F strip W 3"]:
    """Returns a white strip with black text, as wide as the frames below it; text that is too long ends in dots."""
    n_frames, _, width, _ = below.shape
    font = ImageFont.load_default(size=16)
    shown = text
    while shown and font.getlength(shown) > width - 8:
        shown = shown.removesuffix("...")[:-1] + "..." if len(shown) > 3 else ""
    strip = Image.new("RGB", (width, 24), "white")
    ImageDraw.Draw(strip).text((4, 2), shown, fill="black", font=font)
    return np.broadcast_to(np.asarray(strip), (n_frames, 24, width, 3))
