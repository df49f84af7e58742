"""Animated PNG, composited as its specification says.

Pillow makes the blend of a translucent frame over an opaque one translucent, and FFmpeg refuses to blend palettes, grey
or 16 bits. Therefore Pillow decodes every frame as a separate picture, and this module composites them.

Source: PNG specification, third edition, sections 11.3.5 and 13.16 (https://www.w3.org/TR/png-3/).
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from rcjax.video_io.frames import Frame

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DISPOSE_NONE, _DISPOSE_BACKGROUND, _DISPOSE_PREVIOUS = range(3)  # what happens to a frame's area before the next one
_SHARED_CHUNKS = (b"PLTE", b"tRNS")  # chunks that apply to every frame


class FrameControl(NamedTuple):
    """The fields of a frame control chunk (fcTL), in their order in the file."""

    sequence_number: int
    width: int
    height: int
    x: int
    y: int
    delay_numerator: int
    delay_denominator: int
    dispose: int
    blend_over: int

    @property
    def delay(self) -> Fraction:
        """How long the frame is shown, in seconds."""
        return Fraction(self.delay_numerator, self.delay_denominator or 100)


class ApngFrame(NamedTuple):
    """One frame of an animated PNG, not yet composited."""

    control: FrameControl
    png: bytes  # a still PNG of the size of this frame


def count_frames(data: bytes) -> int:
    """Returns the number of frames in the header of a PNG, which is 1 for a still picture."""
    if not data.startswith(SIGNATURE):
        return 1
    for kind, content in _chunks(data):
        if kind == b"acTL":
            return struct.unpack(">I", content[:4])[0]
        if kind == b"IDAT":
            break
    return 1


def split_frames(data: bytes) -> list[ApngFrame]:
    """Returns the frames as still PNGs. Raises ValueError if the data is damaged or truncated."""
    header, shared, frames = b"", [], []
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            header = content
        elif kind in _SHARED_CHUNKS:
            shared.append((kind, content))
        elif kind == b"fcTL":
            frames.append((FrameControl(*struct.unpack(">5I2H2B", content)), []))
        elif kind == b"IDAT" and frames:  # IDAT before any fcTL is the fallback for viewers without animation
            frames[0][1].append(content)
        elif kind == b"fdAT" and frames:
            frames[-1][1].append(content[4:])
    if len(frames) != count_frames(data):
        raise ValueError(f"its header says {count_frames(data)} frames, but it holds {len(frames)}")
    for control, _ in frames:
        if control.x + control.width > _size(header)[0] or control.y + control.height > _size(header)[1]:
            raise ValueError("a frame is outside the picture")
    return [ApngFrame(control, _still_png(header, shared, control, parts)) for control, parts in frames]


def composite_frames(
    data: bytes, frames: list[ApngFrame], decode: Callable[[bytes], UInt8[np.ndarray, "h w 4"]]
) -> Iterator[Frame]:
    """Yields each frame composited onto the frames before it, over white; `decode` returns the RGBA of a still PNG."""
    _, header = next(_chunks(data))
    width, height = _size(header)
    canvas = np.zeros((height, width, 4), np.float32)  # premultiplied colour from 0 to 255, and alpha from 0 to 1
    for i, (control, png) in enumerate(frames):
        area = np.s_[control.y : control.y + control.height, control.x : control.x + control.width]
        previous = canvas[area].copy()
        drawn = _premultiplied(decode(png))
        canvas[area] = drawn + previous * (1 - drawn[..., 3:]) if control.blend_over else drawn
        yield np.rint(canvas[..., :3] + 255 * (1 - canvas[..., 3:])).astype(np.uint8)
        if control.dispose == _DISPOSE_PREVIOUS and i > 0:
            canvas[area] = previous
        elif control.dispose != _DISPOSE_NONE:
            canvas[area] = 0


def _premultiplied(rgba: UInt8[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.concatenate([rgba[..., :3] * alpha, alpha], axis=-1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and content of each chunk up to IEND, and ignores the bytes after it."""
    offset = len(SIGNATURE)
    while offset + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[offset : offset + 8])
        content, checksum = data[offset + 8 : offset + 8 + length], data[offset + 8 + length : offset + 12 + length]
        if len(checksum) < 4:
            break
        if zlib.crc32(kind + content) != int.from_bytes(checksum, "big"):
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        yield kind, content
        if kind == b"IEND":
            return
        offset += 12 + length
    raise ValueError("it is truncated")


def _size(header: bytes) -> tuple[int, int]:
    """Returns width and height from the content of IHDR."""
    return struct.unpack(">2I", header[:8])


def _still_png(header: bytes, shared: list[tuple[bytes, bytes]], control: FrameControl, parts: list[bytes]) -> bytes:
    header = struct.pack(">2I", control.width, control.height) + header[8:]
    chunks = [(b"IHDR", header), *shared, (b"IDAT", b"".join(parts)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
