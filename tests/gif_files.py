"""Writes GIFs of any kind byte by byte, and computes the frames that they show. Source: GIF89a specification."""

import dataclasses

import numpy as np

KEEP, LEAVE, BACKGROUND, PREVIOUS = range(4)


@dataclasses.dataclass(frozen=True)
class Image:
    """One image of a GIF: palette indices, drawn at `left` and `top` of the canvas."""

    indices: np.ndarray  # [h w]
    left: int = 0
    top: int = 0
    disposal: int = KEEP
    transparent: int | None = None
    palette: np.ndarray | None = None  # [256 3]; None: the global palette
    interlaced: bool = False
    delay: int = 10  # 1/100 s


def gif_bytes(width: int, height: int, palette: np.ndarray | None, images: list[Image], background: int = 0) -> bytes:
    """Returns the bytes of a GIF. Palettes have 256 colours."""
    parts = [b"GIF89a", _shorts(width, height), bytes([0xF7 if palette is not None else 0, background, 0])]
    parts += [palette.astype(np.uint8).tobytes()] if palette is not None else []
    for image in images:
        flags = image.disposal << 2 | (image.transparent is not None)
        parts.append(b"!\xf9\x04" + bytes([flags]) + _shorts(image.delay) + bytes([image.transparent or 0, 0]))
        height, width = image.indices.shape
        local = image.palette is not None
        parts.append(b"," + _shorts(image.left, image.top, width, height))
        parts.append(bytes([(0x87 if local else 0) | (0x40 if image.interlaced else 0)]))
        parts += [image.palette.astype(np.uint8).tobytes()] if local else []
        rows = _interlaced_order(height) if image.interlaced else np.arange(height)
        parts.append(_lzw(image.indices[rows].astype(np.uint8).tobytes()))
    return b"".join(parts) + b";"


def expected_frames(
    width: int, height: int, palette: np.ndarray | None, images: list[Image], background: int = 0
) -> np.ndarray:
    """Returns the frames [F height width 3] on white.

    An area is cleared to the background colour, or to transparency if its image has a transparent colour. The canvas is
    initialised in the same way, according to the first image. FFmpeg does this; browsers always clear to transparency.
    """

    def clear(image: Image) -> np.ndarray:
        empty = image.transparent is not None or palette is None
        return np.array([255, 255, 255] if empty else palette[background])

    canvas = np.empty((height, width, 3), int)
    canvas[:] = clear(images[0])
    frames = []
    for image in images:
        h, w = image.indices.shape
        area = np.s_[image.top : image.top + h, image.left : image.left + w]
        before = canvas[area].copy()
        colors = (image.palette if image.palette is not None else palette)[image.indices]
        drawn = np.full((h, w), True) if image.transparent is None else image.indices != image.transparent
        canvas[area] = np.where(drawn[..., None], colors, before)
        frames.append(canvas.astype(np.uint8))
        if image.disposal == BACKGROUND:
            canvas[area] = clear(image)
        elif image.disposal == PREVIOUS:
            canvas[area] = before
    return np.stack(frames)


def _shorts(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "little") for value in values)


def _interlaced_order(height: int) -> np.ndarray:
    return np.concatenate([np.arange(start, height, step) for start, step in ((0, 8), (4, 8), (2, 4), (1, 2))])


def _lzw(data: bytes) -> bytes:
    """Encodes without compression: the table is cleared before codes would need a tenth bit."""
    clear, end = 256, 257
    codes = []
    for start in range(0, len(data), 250):
        codes += [clear, *data[start : start + 250]]
    bits = np.unpackbits(np.array([*codes, end], "<u2")[:, None].view(np.uint8), axis=1, bitorder="little")[:, :9]
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    blocks = [packed[i : i + 255] for i in range(0, len(packed), 255)]
    return b"\x08" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
