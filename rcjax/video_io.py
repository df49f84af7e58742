"""Videos on disk to uint8 frames and back; host only.

Reads GIF, whatever of `VIDEO_SUFFIXES` FFmpeg decodes, and folders of pictures; writes GIF and MP4. Frames
are RGB, `frames_u8 [F H W 3]`. What cannot be read in full is refused: decoders tend to hand out the frames
before the damage as if nothing had happened. Hence PyAV itself and not imageio's plugin for it, which
completes a cut MP4 with uninitialised memory.
"""

import io
import os
import pathlib
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal, TypeAlias

import av
import av.error
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from rcjax.files import write_atomically

Frames: TypeAlias = UInt8[np.ndarray, "F H W 3"]
Frame: TypeAlias = UInt8[np.ndarray, "H W 3"]
Clip: TypeAlias = UInt8[np.ndarray, "{n_frames} {size} {size} 3"]  # by the function's own arguments
Fit: TypeAlias = Literal["resize", "crop", "stretch"]

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_BYTES = 4 * 2**30  # of decoded frames held at once
GIF_MAX_FPS = 50  # browsers slow a delay under 2/100 s down to 10/100 s

_READABLE = f"a GIF, a video ({' '.join(VIDEO_SUFFIXES)}) or a folder of {' '.join(PICTURE_SUFFIXES)}"
_DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error),
    Image.DecompressionBombError,
)  # what Pillow raises on damaged files


def read_video(path: str | os.PathLike[str]) -> Frames:
    """All frames of a GIF, a video file or a folder of pictures; timestamps and delays are ignored.

    Pictures are taken in natural order (frame2 before frame10). Grey and RGBA become RGB, transparency white;
    the rotation that a phone notes beside a video or picture is applied. ValueError for what is missing,
    empty, damaged, of changing size, of an unknown type, or above `MAX_BYTES` (`read_clip` holds only what it
    keeps).
    """
    frames, size = [], 0
    for frame in _frames(path):
        frames.append(frame)
        size += frame.nbytes
        if size > MAX_BYTES:
            raise ValueError(
                f"{path} decodes to more than {MAX_BYTES / 2**30:.3g} GiB of frames; shorten or shrink it, "
                f'for instance with `ffmpeg -i IN -t 10 -vf "scale=-2:480" OUT.mp4`.'
            )
    return np.stack(frames)


def read_clip(path: str | os.PathLike[str], n_frames: int, size: int, fit: Fit = "resize") -> Clip:
    """`fit_clip(read_video(path), n_frames, size, fit)`, but holding only the frames it keeps.

    Decodes the file twice, as the number of frames a file states is not always the number it holds.
    """
    picks = frame_indices(sum(1 for _ in _frames(path)), n_frames)
    wanted = set(picks.tolist())
    kept = {i: _fit_frame(frame, size, fit) for i, frame in enumerate(_frames(path)) if i in wanted}
    return np.stack([kept[i] for i in picks.tolist()])


def frame_indices(n_available: int, n_frames: int) -> Int[np.ndarray, " F"]:
    """Indices floor(i * n_available / n_frames): evenly spaced, starting at the first.

    128 frames to 32 gives 0, 4, ..., 124, as in the paper; fewer frames than asked for are repeated evenly.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames={n_frames}; a clip has at least 1 frame.")
    return np.arange(n_frames) * n_available // n_frames


def fit_clip(frames: Frames, n_frames: int, size: int, fit: Fit = "resize") -> Clip:
    """A clip [n_frames size size 3] of any video; frames are picked by `frame_indices`.

    `resize`: the largest centred square, scaled. `stretch`: the whole frame, scaled, its shape not kept.
    `crop`: the centre `size` x `size` pixels as they are, as the release does. Scaling is Lanczos with
    antialiasing; a frame that fits already is returned unchanged.
    """
    _check_frames(frames)
    picks = frame_indices(len(frames), n_frames)
    fitted = {i: _fit_frame(frames[i], size, fit) for i in set(picks.tolist())}
    return np.stack([fitted[i] for i in picks.tolist()])


def write_video(path: str | os.PathLike[str], frames: Frames, fps: float | int) -> None:
    """Write a `.gif` (256 colours a frame, at most 50 fps) or an `.mp4` (H.264, plays everywhere).

    H.264 needs even sizes: an odd frame gets its last row or column twice. The file appears when it is
    complete, in place of an older one; its folder is made if need be.
    """
    path = pathlib.Path(path)
    _check_frames(frames)
    if not 0 < fps < 1000:
        raise ValueError(f"fps={fps}; expected frames per second above 0 and below 1000.")
    require_writable(path)
    writer = {".gif": _write_gif, ".mp4": _write_mp4}[path.suffix.lower()]
    write_atomically(path, lambda part: writer(part, frames, fps))


def require_writable(path: str | os.PathLike[str]) -> None:
    """ValueError unless `write_video` knows the type that the name ends in; for a check before long work."""
    suffix = pathlib.Path(path).suffix
    if suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"{path} ends in {suffix!r}; videos are written as .gif or .mp4.")


def side_by_side(
    a: UInt8[np.ndarray, "Fa Ha Wa 3"],
    b: UInt8[np.ndarray, "Fb Hb Wb 3"],
    labels: tuple[str, str] | None = None,
    gap: int = 8,
    min_height: int = 256,
) -> Frames:
    """Two videos beside each other on white, each under its label, for people to compare.

    Both are scaled to the larger height, at least `min_height` pixels, by nearest neighbour and keeping their
    shapes. The shorter one is slowed down evenly (`frame_indices`), so that they start and end together.
    """
    _check_frames(a)
    _check_frames(b)
    height = max(min_height, a.shape[1], b.shape[1])
    n_frames = max(len(a), len(b))
    columns = [_nearest(frames, height)[frame_indices(len(frames), n_frames)] for frames in (a, b)]
    if labels is not None:
        columns = [
            np.concatenate([_label(text, column), column], axis=1) for text, column in zip(labels, columns, strict=True)
        ]
    space = np.full((n_frames, columns[0].shape[1], gap, 3), 255, np.uint8)
    return np.concatenate([columns[0], space, columns[1]], axis=2)


def _frames(path: str | os.PathLike[str]) -> Iterator[Frame]:
    """The frames one by one, at least one and all of one size."""
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(f"{path} does not exist; expected {_READABLE}.")
    suffix = path.suffix.lower()
    if path.is_dir():
        frames = _read_folder(path)
    elif suffix == ".gif":
        frames = _read_gif(path)
    elif suffix in VIDEO_SUFFIXES:
        frames = _read_stream(path)
    elif suffix in PICTURE_SUFFIXES:
        raise ValueError(f"{path} is a single picture; expected {_READABLE}: name the folder, not the file.")
    else:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected {_READABLE}: convert it to .mp4.")
    shape = None
    for i, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.shape != shape:
            raise ValueError(
                f"{path}: frame {i} is {_size(frame.shape)}, those before are {_size(shape)} "
                "(width x height); bring all frames to one size."
            )
        yield frame
    if shape is None:
        raise _damaged(path, "it holds no frames")


def _read_folder(folder: pathlib.Path) -> Iterator[Frame]:
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.name[0] != "."]
    if not pictures:
        raise ValueError(
            f"the folder {folder} holds no pictures; expected one {' or '.join(PICTURE_SUFFIXES)} per frame."
        )
    for picture in sorted(pictures, key=_natural_order):
        try:
            with Image.open(picture, formats=["PNG", "JPEG"]) as image:
                frame = _to_rgb(ImageOps.exif_transpose(image))
        except _DECODE_ERRORS as error:
            raise _damaged(picture, error) from error
        yield frame


def _natural_order(path: pathlib.Path) -> tuple[list[tuple[int, str]], str]:
    """frame2 before frame10: runs of digits compare as numbers."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in parts], path.name


def _read_gif(path: pathlib.Path) -> Iterator[Frame]:
    data = path.read_bytes()
    if not data.startswith((b"GIF87a", b"GIF89a")):
        raise _damaged(path, "it is not a GIF")
    if not _gif_is_complete(data):
        raise _damaged(path, "it is cut off")
    try:
        image = Image.open(io.BytesIO(data), formats=["GIF"])
        n_frames = getattr(image, "n_frames", 1)
    except _DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    for i in range(n_frames):
        try:
            image.seek(i)
            frame = _to_rgb(image)
        except _DECODE_ERRORS as error:
            raise _damaged(path, error) from error
        yield frame


def _gif_is_complete(data: bytes) -> bool:
    """Whether the blocks lead to the trailer; Pillow takes a missing end for the end.

    Source: GIF89a specification, sections 15 to 27.
    """
    at = 13 + _color_table_size(data[10:11])
    while at < len(data):
        kind = data[at : at + 1]
        if kind == b";":
            return True
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
    return False


def _color_table_size(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _to_rgb(image: Image.Image) -> Frame:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image) >> 8
        return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _read_stream(path: pathlib.Path) -> Iterator[Frame]:
    if not _container_is_complete(path):
        raise _damaged(path, "it is cut off")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path} has no video stream, only sound or data; expected {_READABLE}.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise _damaged(path, "a packet is incomplete")
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise _damaged(path, "a frame does not decode")
                    # rotation: degrees counter-clockwise, as np.rot90 turns
                    upright = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                    yield np.ascontiguousarray(upright)
    except av.error.FFmpegError as error:
        raise _damaged(path, error.strerror) from error


def _container_is_complete(path: pathlib.Path) -> bool:
    """Whether the file is as long as its outermost boxes say; FFmpeg reads a shorter one without a word.

    Sources: ISO/IEC 14496-12 section 4.2 (MP4, MOV), RFC 8794 (WebM, Matroska), RIFF (AVI). A file that
    starts like none of these is left for FFmpeg to judge; a live WebM, which states no length, passes.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return 8 + int.from_bytes(head[4:8], "little") <= length
        if head[:4] == b"\x1aE\xdf\xa3":
            return _skip_boxes(file, length, _ebml_box)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _skip_boxes(file, length, _iso_box)
    return True


def _skip_boxes(file: io.BufferedReader, length: int, box: Callable) -> bool:
    at = 0
    while at < length:
        file.seek(at)
        size = box(file.read(16))
        if size is None:  # up to the end of the file, whatever it is
            return True
        at += size
    return at == length


def _iso_box(head: bytes) -> int | None:
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return max(size, 8) if size else None


def _ebml_box(head: bytes) -> int | None:
    """Bytes of an EBML element; None for a size left open, as live recordings do."""
    if len(head) < 2 or not head[0]:
        return max(len(head), 1)
    id_bytes = 9 - head[0].bit_length()
    size = head[id_bytes : id_bytes + 8]
    if not size or not size[0]:
        return None
    size_bytes = 9 - size[0].bit_length()
    all_ones = (1 << 7 * size_bytes) - 1
    value = int.from_bytes(size[:size_bytes], "big") & all_ones
    return None if value == all_ones else id_bytes + size_bytes + value


def _fit_frame(frame: Frame, size: int, fit: Fit) -> UInt8[np.ndarray, "{size} {size} 3"]:
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


def _write_mp4(path: pathlib.Path, frames: Frames, fps: float | int) -> None:
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "16"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        # said, not left to the player, which would guess by size
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(path: pathlib.Path, frames: Frames, fps: float | int) -> None:
    """Through FFmpeg, as Pillow drops a frame that equals the one before."""
    if fps > GIF_MAX_FPS:
        raise ValueError(f"fps={fps}; a GIF plays at most {GIF_MAX_FPS}: write an .mp4 or lower fps.")
    starts = [round(100 * i / fps) for i in range(len(frames) + 1)]  # in the 1/100 s that GIF counts
    options = {"final_delay": str(starts[-1] - starts[-2])}
    with av.open(str(path), "w", format="gif", options=options) as container:
        # gifflags 0: whole frames. Parts alone would be compared by index across different palettes.
        stream = container.add_stream("gif", rate=100, options={"gifflags": "0"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "pal8"
        for frame, start in zip(frames, starts, strict=False):
            pal8 = _quantize(frame)
            picture = av.VideoFrame.from_ndarray(pal8, format="pal8")  # pyright: ignore[reportArgumentType]
            picture.pts, picture.time_base = start, Fraction(1, 100)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _quantize(frame: Frame) -> tuple[UInt8[np.ndarray, "H W"], UInt8[np.ndarray, "256 4"]]:
    """Indices and an opaque ARGB palette of up to 256 colours; exact where the frame has no more."""
    image = Image.fromarray(frame).quantize(256)
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    palette = np.full((256, 4), 255, np.uint8)
    palette[: len(colors), 1:] = colors
    return np.asarray(image), palette


def _nearest(frames: Frames, height: int) -> UInt8[np.ndarray, "F {height} width 3"]:
    _, old_height, old_width, _ = frames.shape
    width = max(1, round(old_width * height / old_height))
    rows = np.arange(height) * old_height // height
    columns = np.arange(width) * old_width // width
    return frames[:, rows[:, None], columns]


def _label(text: str, below: Frames) -> UInt8[np.ndarray, "F strip W 3"]:
    """A white strip with black text, as wide as the frames below it; text that is too long ends in dots."""
    n_frames, _, width, _ = below.shape
    font = ImageFont.load_default(size=16)
    shown = text
    while shown and font.getlength(shown) > width - 8:
        shown = shown.removesuffix("...")[:-1] + "..." if len(shown) > 3 else ""
    strip = Image.new("RGB", (width, 24), "white")
    ImageDraw.Draw(strip).text((4, 2), shown, fill="black", font=font)
    return np.broadcast_to(np.asarray(strip), (n_frames, 24, width, 3))


def _check_frames(frames: Frames) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"got frames of {frames.dtype} {list(frames.shape)}; expected uint8 [F H W 3], not empty.")


def _damaged(path: pathlib.Path, reason: object) -> ValueError:
    reason = " ".join(str(reason).split())
    return ValueError(f"{path} cannot be read in full ({reason}); download, export or convert it again.")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
