"""Where the video in a file ends: before bytes that others have appended, or after the end of a file that is cut off.

FFmpeg reads a file that is cut off without a word, and may take what is appended for more of the video.
"""

import pathlib
from typing import BinaryIO

from rcjax.video_io.frames import damaged
from rcjax.video_io.gif import gif_end

# What may stand at the top of an MP4 or MOV (ISO/IEC 14496-12; the QuickTime file format).
_ISO_BOXES = frozenset(
    b"ftyp styp moov moof mdat free skip wide uuid meta mfra sidx ssix prft pdin emsg imda pnot PICT udta".split()
)
_EBML, _SEGMENT = bytes.fromhex("1a45dfa3"), bytes.fromhex("18538067")
# What may stand in a segment or a cluster of unstated size (RFC 9559): Cluster, Cues, Tags, SeekHead, Info, Tracks,
# Chapters, Attachments, Void, CRC-32; Timestamp, SimpleBlock, BlockGroup, Position, PrevSize, SilentTracks,
# EncryptedBlock.
_MATROSKA_ELEMENTS = [
    *map(bytes.fromhex, ("1f43b675", "1c53bb6b", "1254c367", "114d9b74", "1549a966", "1654ae6b", "1043a770")),
    *map(bytes.fromhex, ("1941a469", "ec", "bf", "e7", "a3", "a0", "a7", "ab", "5854", "af")),
]


def video_end(path: pathlib.Path) -> int:
    """The number of bytes that hold the video; ValueError if the file is cut off.

    A file that starts like no container known here is left for FFmpeg to judge. So is a live WebM cut between two
    blocks or a fragmented MP4 cut between two fragments: it is a shorter video and nothing else.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = _read(file, 0, 12)
        if head[:3] == b"GIF":
            end = gif_end(path.read_bytes())
        elif head[:4] == b"RIFF":
            end = _riff_end(file, length)
        elif head[:4] == _EBML:
            end = _matroska_end(file, length)
        elif head[4:8] in _ISO_BOXES:
            end = _iso_end(file, length)
        else:
            end = length
    if end is None:
        raise damaged(path, "it is cut off")
    return end


def _read(file: BinaryIO, at: int, n_bytes: int) -> bytes:
    file.seek(at)
    return file.read(n_bytes)


def _riff_end(file: BinaryIO, length: int) -> int | None:
    """Past the first RIFF chunk and those that continue an AVI (OpenDML); what follows is left to FFmpeg.

    Except a second AVI, which FFmpeg would play as the first one's end.
    """
    at = 0
    while True:
        head = _read(file, at, 12)
        is_first, kind = at == 0, head[8:12]
        if not is_first and (head[:4] != b"RIFF" or kind != b"AVIX"):
            return at if head[:4] == b"RIFF" and kind == b"AVI " else length
        size = int.from_bytes(head[4:8], "little")
        if is_first and size == 0:  # not filled in, as by a recorder that cannot seek back
            return length
        if len(head) < 12 or at + 8 + size > length:
            return None
        at += 8 + size + size % 2


def _iso_end(file: BinaryIO, length: int) -> int | None:
    """Past the last box of the first movie. Source: ISO/IEC 14496-12 section 4.2."""
    at, seen = 0, set()
    while at < length:
        head = _read(file, at, 16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        is_over = b"mfra" in seen or (b"moof" not in seen and {b"moov", b"mdat"} <= seen)
        if kind == b"ftyp" and is_over:
            return at  # another file; fragments of one movie, though, may repeat their start
        if len(head) < 8 and b"moof" in seen:
            starts_a_box = head[0] == 0 and any(box.startswith(head[4:]) for box in _ISO_BOXES)
            return None if starts_a_box else at
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        fits = 8 <= size <= length - at
        if not fits and kind not in _ISO_BOXES:
            return at
        if size == 0:  # up to the end of the file, wherever that is
            return length
        if size > length - at:
            return None
        seen.add(kind)
        at += max(size, 8)
    return length


def _matroska_end(file: BinaryIO, length: int) -> int | None:
    """Past the first segment. Sources: RFC 8794, RFC 9559."""
    at, in_segment = 0, False
    while at < length:
        head = _read(file, at, 12)
        if in_segment and not any(head.startswith(element) for element in _MATROSKA_ELEMENTS):
            is_partial = any(element.startswith(head) for element in _MATROSKA_ELEMENTS)
            return None if is_partial else at
        parsed = _ebml_header(head)
        if parsed is None:
            return None
        header_size, size = parsed
        if head.startswith(_SEGMENT):
            if size is not None:
                end = at + header_size + size
                return end if end <= length else None
            in_segment = True
        at += header_size + (size or 0)  # into an element of unstated size: its children follow
    return length if at == length else None


def _ebml_header(head: bytes) -> tuple[int, int | None] | None:
    """Bytes of the header and of what it heads, None for a size left open as by live recordings; None if incomplete."""
    if not head or not head[0]:
        return None
    id_bytes = 9 - head[0].bit_length()
    if len(head) <= id_bytes or not head[id_bytes]:
        return None
    size_bytes = 9 - head[id_bytes].bit_length()
    size = head[id_bytes : id_bytes + size_bytes]
    if len(size) < size_bytes:
        return None
    all_ones = (1 << 7 * size_bytes) - 1
    value = int.from_bytes(size, "big") & all_ones
    return id_bytes + size_bytes, None if value == all_ones else value
