"""Finds the end of the video in a file, in order to detect truncated files and to ignore appended bytes.

FFmpeg reads a truncated file without an error, and may treat appended bytes as more of the video.
"""

import pathlib
from typing import BinaryIO

from rcjax.video_io.frames import damaged_file_error
from rcjax.video_io.gif import gif_end

# Boxes that may occur at the top level of an MP4 or MOV (ISO/IEC 14496-12; the QuickTime file format).
_ISO_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide uuid meta mfra sidx ssix prft pdin emsg imda pnot PICT udta".split()
)
_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
# Elements that may occur in a segment or a cluster of unknown size (RFC 9559): Cluster, Cues, Tags, SeekHead, Info,
# Tracks, Chapters, Attachments, Void, CRC-32; Timestamp, SimpleBlock, BlockGroup, Position, PrevSize, SilentTracks,
# EncryptedBlock.
_MATROSKA_ELEMENTS = [
    *map(bytes.fromhex, ("1f43b675", "1c53bb6b", "1254c367", "114d9b74", "1549a966", "1654ae6b", "1043a770")),
    *map(bytes.fromhex, ("1941a469", "ec", "bf", "e7", "a3", "a0", "a7", "ab", "5854", "af")),
]


def video_end(path: pathlib.Path) -> int:
    """Returns the number of bytes that hold the video. Raises ValueError if the file is truncated.

    For a container that is not known here, it returns the length of the file, and FFmpeg decides. A live WebM that ends
    between two blocks and a fragmented MP4 that ends between two fragments are accepted: they are shorter videos.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        header = _read(file, 0, 12)
        if header[:3] == b"GIF":
            end = gif_end(path.read_bytes())
        elif header[:4] == b"RIFF":
            end = _riff_end(file, length)
        elif header[:4] == _EBML:
            end = _matroska_end(file, length)
        elif header[4:8] in _ISO_BOXES:
            end = _iso_end(file, length)
        else:
            end = length
    if end is None:
        raise damaged_file_error(path, "it is truncated")
    return end


def _read(file: BinaryIO, offset: int, n_bytes: int) -> bytes:
    file.seek(offset)
    return file.read(n_bytes)


def _riff_end(file: BinaryIO, length: int) -> int | None:
    """Returns the length of the file, or None if a RIFF chunk is truncated.

    The chunks are the first one and those that continue an AVI (OpenDML). If a second AVI follows, its start is
    returned, because FFmpeg would play it as a continuation of the first one.
    """
    offset = 0
    while True:
        header = _read(file, offset, 12)
        is_first, kind = offset == 0, header[8:12]
        if not is_first and (header[:4] != b"RIFF" or kind != b"AVIX"):
            return offset if header[:4] == b"RIFF" and kind == b"AVI " else length
        size = int.from_bytes(header[4:8], "little")
        if is_first and size == 0:  # a recorder that cannot seek back does not fill in the size
            return length
        if len(header) < 12 or offset + 8 + size > length:
            return None
        offset += 8 + size + size % 2


def _iso_end(file: BinaryIO, length: int) -> int | None:
    """Returns the end of the last box of the first movie, None if truncated. Source: ISO/IEC 14496-12 section 4.2."""
    offset, seen = 0, set()
    while offset < length:
        header = _read(file, offset, 16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        movie_is_complete = b"mfra" in seen or (b"moof" not in seen and {b"moov", b"mdat"} <= seen)
        if kind == b"ftyp" and movie_is_complete:
            return offset  # another file starts here; fragments of one movie may repeat `ftyp`, though
        if len(header) < 8 and b"moof" in seen:
            starts_a_box = header[0] == 0 and any(box.startswith(header[4:]) for box in _ISO_BOXES)
            return None if starts_a_box else offset
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        fits = 8 <= size <= length - offset
        if not fits and kind not in _ISO_BOXES:
            return offset
        if size == 0:  # size 0: the box extends to the end of the file
            return length
        if size > length - offset:
            return None
        seen.add(kind)
        offset += max(size, 8)
    return length


def _matroska_end(file: BinaryIO, length: int) -> int | None:
    """Returns the end of the first segment, None if truncated. Sources: RFC 8794, RFC 9559."""
    offset, in_segment = 0, False
    while offset < length:
        header = _read(file, offset, 12)
        if in_segment and not any(header.startswith(element) for element in _MATROSKA_ELEMENTS):
            is_partial = any(element.startswith(header) for element in _MATROSKA_ELEMENTS)
            return None if is_partial else offset
        parsed = _ebml_header(header)
        if parsed is None:
            return None
        header_size, size = parsed
        if header.startswith(_SEGMENT):
            if size is not None:
                end = offset + header_size + size
                return end if end <= length else None
            in_segment = True
        offset += header_size + (size or 0)  # the children of an element of unknown size follow its header
    return length if offset == length else None


def _ebml_header(header: bytes) -> tuple[int, int | None] | None:
    """Returns the sizes in bytes of the header and of the element's data; returns None if the header is incomplete.

    The size of the data is None if it is unknown, as in live recordings.
    """
    if not header or not header[0]:
        return None
    id_bytes = 9 - header[0].bit_length()
    if len(header) <= id_bytes or not header[id_bytes]:
        return None
    size_bytes = 9 - header[id_bytes].bit_length()
    size = header[id_bytes : id_bytes + size_bytes]
    if len(size) < size_bytes:
        return None
    all_ones = (1 << 7 * size_bytes) - 1
    value = int.from_bytes(size, "big") & all_ones
    return id_bytes + size_bytes, None if value == all_ones else value
