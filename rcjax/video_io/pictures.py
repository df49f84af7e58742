"""Reads folders of pictures, and animated PNG and WebP files."""

import io
import pathlib
import re
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps

from rcjax.video_io import apng
from rcjax.video_io.containers import video_end
from rcjax.video_io.frames import DECODE_ERRORS, Frame, FrameReader, damaged_file_error, on_white
from rcjax.video_io.timeline import even_timeline, timeline_of_delays

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
ANIMATION_SUFFIXES = (".png", ".apng", ".webp")

_ORIENTATION = 0x0112  # tag in EXIF 2.3
_FORMATS = ("PNG", "JPEG", "WEBP")


def read_folder(folder: pathlib.Path) -> FrameReader:
    """Reads one frame per picture, in natural order and with equal durations."""
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.name[0] != "."]
    pipes = [p.name for p in pictures if p.exists() and not p.is_file()]
    if pipes:
        raise ValueError(f"{folder / pipes[0]} is not a regular file; expected a picture.")
    if not pictures:
        raise ValueError(
            f"the folder {folder} holds no pictures; expected one {' or '.join(PICTURE_SUFFIXES)} per frame."
        )
    for picture in sorted(pictures, key=_natural_order):
        try:
            with Image.open(picture, formats=_FORMATS) as image:
                is_animated = _is_animated(image)
                frame = None if is_animated else _apply_orientation(on_white(_to_rgba(image)), image)
        except DECODE_ERRORS as error:
            raise damaged_file_error(picture, error) from error
        if frame is None:
            raise ValueError(
                f"{picture} is an animation; expected one frame per picture: give the path of that file, or remove it."
            )
        yield frame
    return even_timeline(len(pictures))


def _natural_order(path: pathlib.Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key in which runs of digits compare as numbers, so that frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in parts], path.name


def read_animation(path: pathlib.Path) -> FrameReader:
    """Reads the frames of an animated PNG or WebP. Raises ValueError for a single picture."""
    data = path.read_bytes()
    if data.startswith(b"RIFF"):
        video_end(path)
    try:
        if data.startswith(apng.SIGNATURE) and apng.count_frames(data) > 1:
            return (yield from _read_apng(data))
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.format == "WEBP" and _is_animated(image):
                return (yield from _read_webp(image))
    except DECODE_ERRORS as error:
        raise damaged_file_error(path, error) from error
    raise ValueError(
        f"{path} is a single picture; expected an animation, a video, or a folder of pictures: give the folder, "
        "not the file."
    )


def _is_animated(image: Image.Image) -> bool:
    """Whether an image is an animation. A JPEG of several pictures (MPO) is not: they show the same moment."""
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def _read_apng(data: bytes) -> FrameReader:
    frames = apng.split_frames(data)

    def decode(png: bytes) -> UInt8[np.ndarray, "h w 4"]:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return _to_rgba(image)

    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        for frame in apng.composite_frames(data, frames, decode):
            yield _apply_orientation(frame, image)
    return timeline_of_delays([frame.control.delay for frame in frames])


def _read_webp(image: ImageFile.ImageFile) -> FrameReader:
    delays = []
    for i in range(getattr(image, "n_frames", 1)):
        image.seek(i)
        frame = on_white(_to_rgba(image))
        delays.append(Fraction(image.info["duration"], 1000))
        yield _apply_orientation(frame, image)
    return timeline_of_delays(delays)


def _apply_orientation(frame: UInt8[np.ndarray, "h w 3"], image: Image.Image) -> Frame:
    """Turns a frame upright by the EXIF orientation of the image."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation == 1:
        return frame
    picture = Image.fromarray(frame)
    picture.getexif()[_ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(picture))


def _to_rgba(image: ImageFile.ImageFile) -> UInt8[np.ndarray, "h w 4"]:
    """Converts an image of any mode of PNG, JPEG and WebP to RGBA.

    If the colour that stands for transparency has another bit depth than Pillow's pixels, it is converted here, because
    Pillow compares the two numbers without conversion.
    """
    rawmode = image.tile[0].args if image.tile else None
    rawmode = rawmode if isinstance(rawmode, str) else ""
    key = image.info.get("transparency")
    if image.mode.startswith("I;16"):
        grey = np.asarray(image)
        alpha = np.where(grey == key, 0, 255) if key is not None else np.full_like(grey, 255)
        return np.stack([grey >> 8] * 3 + [alpha], axis=-1).astype(np.uint8)
    if key is not None and rawmode in ("L;2", "L;4"):
        image.info["transparency"] = key * 255 // (2 ** int(rawmode[-1]) - 1)
    elif isinstance(key, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return np.array(image.convert("RGBA"))
