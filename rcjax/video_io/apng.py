"""Animated PNG, composed as its specification says.

Pillow blends a see-through frame over an opaque one to something see-through, and FFmpeg refuses to blend palettes,
grey or 16 bits; so Pillow decodes every frame as a picture of its own, and they are composed here.
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
_NONE, _BACKGROUND, _PREVIOUS = range(3)  # what happens to a frame's area before the next one
_SHARED = (b"PLTE", b"tRNS")  # what every frame needs of the file


class FrameControl(NamedTuple):
    """The fields of a frame control chunk (fcTL), in its order."""

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
        """In seconds."""
        return Fraction(self.delay_numerator, self.delay_denominator or 100)


class ApngFrame(NamedTuple):
    control: FrameControl
    png: bytes  # a still picture of the frame's own size


def n_frames(data: bytes) -> int:
    """How many frames a PNG says it holds; 1 for a still picture."""
    if not data.startswith(SIGNATURE):
        return 1
    for kind, content in _chunks(data):
        if kind == b"acTL":
            return struct.unpack(">I", content[:4])[0]
        if kind == b"IDAT":
            break
    return 1


def split(data: bytes) -> list[ApngFrame]:
    """The frames as PNG files. ValueError for what is damaged or cut off."""
    header, shared, frames = b"", [], []
    for kind, content in _chunks(data):
        if kind == b"IHDR":
            header = content
        elif kind in _SHARED:
            shared.append((kind, content))
        elif kind == b"fcTL":
            frames.append((FrameControl(*struct.unpack(">5I2H2B", content)), []))
        elif kind == b"IDAT" and frames:  # without a control before it, a picture for those who show no animation
            frames[0][1].append(content)
        elif kind == b"fdAT" and frames:
            frames[-1][1].append(content[4:])
    if len(frames) != n_frames(data):
        raise ValueError(f"it says {n_frames(data)} frames and holds {len(frames)}")
    for control, _ in frames:
        if control.x + control.width > _size(header)[0] or control.y + control.height > _size(header)[1]:
            raise ValueError("a frame is outside the picture")
    return [ApngFrame(control, _still(header, shared, control, parts)) for control, parts in frames]


def compose(
    data: bytes, frames: list[ApngFrame], decode: Callable[[bytes], UInt8[np.ndarray, "h w 4"]]
) -> Iterator[Frame]:
    """Each frame on all before it, over white; `decode` makes RGBA of a still PNG."""
    _, header = next(_chunks(data))
    width, height = _size(header)
    canvas = np.zeros((height, width, 4), np.float32)  # colour times alpha, alpha; 0 to 255 and 0 to 1
    for i, (control, png) in enumerate(frames):
        area = np.s_[control.y : control.y + control.height, control.x : control.x + control.width]
        before = canvas[area].copy()
        drawn = _premultiplied(decode(png))
        canvas[area] = drawn + before * (1 - drawn[..., 3:]) if control.blend_over else drawn
        yield np.rint(canvas[..., :3] + 255 * (1 - canvas[..., 3:])).astype(np.uint8)
        if control.dispose == _PREVIOUS and i > 0:
            canvas[area] = before
        elif control.dispose != _NONE:
            canvas[area] = 0


def _premultiplied(rgba: UInt8[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.concatenate([rgba[..., :3] * alpha, alpha], axis=-1)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk up to the last one; what follows that is not looked at."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content, checksum = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            break
        if zlib.crc32(kind + content) != int.from_bytes(checksum, "big"):
            raise ValueError(f"the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
        yield kind, content
        if kind == b"IEND":
            return
        at += 12 + length
    raise ValueError("it is cut off")


def _size(header: bytes) -> tuple[int, int]:
    return struct.unpack(">2I", header[:8])


def _still(header: bytes, shared: list[tuple[bytes, bytes]], control: FrameControl, parts: list[bytes]) -> bytes:
    header = struct.pack(">2I", control.width, control.height) + header[8:]
    chunks = [(b"IHDR", header), *shared, (b"IDAT", b"".join(parts)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
