"""Checks that no block of a GIF is missing, because decoders show an incomplete GIF without an error.

Source: GIF89a specification, sections 15 to 27.
"""

import io
from collections.abc import Iterator

from PIL import Image

from rcjax.video_io.frames import DECODE_ERRORS


def gif_end(data: bytes) -> int | None:
    """Returns the number of bytes up to and including the trailer.

    Returns None if the blocks do not lead to a trailer, or if the data of an image ends early.
    """
    for start, end in _blocks(data):
        kind = data[start : start + 1]
        if kind == b"," and not _is_complete(data, start, end):
            return None
        if kind == b";":
            return end
    return None


def _is_complete(data: bytes, start: int, end: int) -> bool:
    """Whether the image block at `start` to `end` has data for all of its pixels.

    The block is decoded as a separate GIF, since its palette and the images before it do not matter here.
    """
    size = data[start + 5 : start + 9]
    standalone = data[:6] + size + _header(data)[10:] + b"," + bytes(4) + size + data[start + 9 : end] + b";"
    try:
        with Image.open(io.BytesIO(standalone), formats=["GIF"]) as image:
            image.load()
    except DECODE_ERRORS:
        return False
    return True


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields start and end of each block, up to the trailer or the first truncated block."""
    offset = len(_header(data))
    while offset < len(data):
        start, kind = offset, data[offset : offset + 1]
        if kind == b";":
            yield start, start + 1
            return
        if kind == b"!":  # extension: a label, then sub-blocks
            offset += 2
        elif kind == b",":  # image: descriptor, colour table, code size, then sub-blocks
            offset += 11 + _color_table_size(data[offset + 9 : offset + 10])
        else:
            offset += 1  # padding that some encoders leave between blocks
            continue
        while offset < len(data) and data[offset]:
            offset += 1 + data[offset]
        offset += 1
        yield start, offset


def _header(data: bytes) -> bytes:
    """Returns header, logical screen descriptor and global colour table."""
    return data[: 13 + _color_table_size(data[10:11])]


def _color_table_size(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
