"""The blocks of a GIF, to see that none is missing: decoders show what there is as if it were all.

Source: GIF89a specification, sections 15 to 27.
"""

import io
from collections.abc import Iterator

from PIL import Image

from rcjax.video_io.frames import DECODE_ERRORS


def gif_end(data: bytes) -> int | None:
    """The number of bytes up to the trailer that the blocks lead to; None if they do not, or if an image ends early."""
    for start, end in _blocks(data):
        kind = data[start : start + 1]
        if kind == b"," and not _is_whole(data, start, end):
            return None
        if kind == b";":
            return end
    return None


def _is_whole(data: bytes, start: int, end: int) -> bool:
    """Whether an image has as many pixels as it says.

    It is decoded as a GIF of its own: which palette it has and what was drawn before do not matter here.
    """
    size = data[start + 5 : start + 9]
    alone = data[:6] + size + _head(data)[10:] + b"," + bytes(4) + size + data[start + 9 : end] + b";"
    try:
        with Image.open(io.BytesIO(alone), formats=["GIF"]) as image:
            image.load()
    except DECODE_ERRORS:
        return False
    return True


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each block, up to the trailer or the first one that is cut off."""
    at = len(_head(data))
    while at < len(data):
        start, kind = at, data[at : at + 1]
        if kind == b";":
            yield start, start + 1
            return
        if kind == b"!":  # extension: a label, then sub-blocks
            at += 2
        elif kind == b",":  # image: descriptor, colour table, code size, then sub-blocks
            at += 11 + _color_table_size(data[at + 9 : at + 10])
        else:
            at += 1  # padding that some encoders leave between blocks
            continue
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        yield start, at


def _head(data: bytes) -> bytes:
    return data[: 13 + _color_table_size(data[10:11])]


def _color_table_size(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
