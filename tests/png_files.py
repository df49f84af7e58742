"""Writes PNGs and animated PNGs of any kind chunk by chunk. Source: PNG specification, third edition."""

import dataclasses
import struct
import zlib

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
NONE, BACKGROUND, PREVIOUS = range(3)  # disposals
SOURCE, OVER = range(2)  # blends
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}


@dataclasses.dataclass(frozen=True)
class Part:
    """One frame of an animation: samples [h w channels] at `left` and `top`."""

    samples: np.ndarray
    left: int = 0
    top: int = 0
    dispose: int = NONE
    blend: int = SOURCE
    delay: tuple[int, int] = (1, 10)  # seconds as a fraction


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bytes(samples: np.ndarray, color_type: int, depth: int = 8, extra: bytes = b"") -> bytes:
    """Returns the bytes of a still PNG. `extra` are chunks between header and data."""
    return b"".join(
        [_start(samples, color_type, depth), extra, chunk(b"IDAT", _data(samples, depth)), chunk(b"IEND", b"")]
    )


def apng_bytes(
    parts: list[Part], width: int, height: int, color_type: int, depth: int = 8, extra: bytes = b"", still=None
) -> bytes:
    """Returns the bytes of an animated PNG.

    `still` are samples of the fallback picture for viewers without animation, which is not a frame.
    """
    canvas = np.empty((height, width, CHANNELS[color_type]))
    chunks = [_start(canvas, color_type, depth), chunk(b"acTL", struct.pack(">2I", len(parts), 0)), extra]
    if still is not None:
        chunks.append(chunk(b"IDAT", _data(still, depth)))
    number = 0
    for i, part in enumerate(parts):
        h, w = part.samples.shape[:2]
        control = (w, h, part.left, part.top, *part.delay, part.dispose, part.blend)
        chunks.append(chunk(b"fcTL", struct.pack(">5I2H2B", number, *control)))
        number += 1
        data = _data(part.samples, depth)
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            if i == 0 and still is None:
                chunks.append(chunk(b"IDAT", piece))
            else:
                chunks.append(chunk(b"fdAT", struct.pack(">I", number) + piece))
                number += 1
    return b"".join([*chunks, chunk(b"IEND", b"")])


def expected_frames(parts: list[Part], width: int, height: int, rgba_of) -> np.ndarray:
    """Returns the frames [F height width 3] on white. `rgba_of` converts samples of a part to RGBA from 0 to 1."""
    color, alpha = np.zeros((height, width, 3)), np.zeros((height, width, 1))
    frames = []
    for i, part in enumerate(parts):
        h, w = part.samples.shape[:2]
        area = np.s_[part.top : part.top + h, part.left : part.left + w]
        before = color[area].copy(), alpha[area].copy()
        rgba = rgba_of(part.samples)
        new, opacity = rgba[..., :3], rgba[..., 3:]
        if part.blend == OVER:
            total = opacity + before[1] * (1 - opacity)
            mixed = new * opacity + before[0] * before[1] * (1 - opacity)
            new, opacity = np.divide(mixed, total, out=np.zeros_like(mixed), where=total > 0), total
        color[area], alpha[area] = new, opacity
        frames.append(255 * (color * alpha + 1 - alpha))
        if part.dispose == BACKGROUND or (part.dispose == PREVIOUS and i == 0):
            color[area], alpha[area] = 0, 0
        elif part.dispose == PREVIOUS:
            color[area], alpha[area] = before
    return np.stack(frames)


def _start(samples: np.ndarray, color_type: int, depth: int) -> bytes:
    height, width = samples.shape[:2]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, color_type, 0, 0, 0))


def _data(samples: np.ndarray, depth: int) -> bytes:
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        packed = rows.astype(">u2").view(np.uint8)
    else:
        bits = np.unpackbits(rows.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        packed = np.packbits(bits.reshape(len(rows), -1), axis=-1)
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in packed))
