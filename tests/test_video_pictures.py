"""Animated PNG and WebP, and pictures of every kind.

The oracle is a compositor with pixel values written from the PNG specification (`tests/png_files.py`). For WebP, it is
the pictures, which were written without loss.
"""

import struct

import numpy as np
import pytest
from PIL import Image

from rcjax.video_io import read_clip, read_video
from tests.png_files import (
    BACKGROUND,
    GREY,
    GREY_ALPHA,
    NONE,
    OVER,
    PALETTE,
    PREVIOUS,
    RGB,
    RGBA,
    SOURCE,
    Part,
    apng_bytes,
    chunk,
    expected_frames,
    png_bytes,
)
from tests.test_video_streams import assert_refused
from tests.video_files import MIRRORS_AND_TURNS

COLORS = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
ALPHAS = np.random.default_rng(2).integers(0, 256, 256, np.uint8)
PALETTE_CHUNKS = chunk(b"PLTE", COLORS.tobytes()) + chunk(b"tRNS", ALPHAS.tobytes())
EXIF_TURNS = dict(zip((1, 2, 4, 3, 5, 6, 8, 7), (turn for _, turn in MIRRORS_AND_TURNS), strict=True))  # EXIF 2.3


def rgba_of(color_type, depth=8, key=None):
    """Returns a function from samples to RGBA from 0 to 1. `key` is the sample that is transparent."""

    def convert(samples):
        if color_type == PALETTE:
            return np.concatenate([COLORS, ALPHAS[:, None]], axis=-1)[samples[..., 0]] / 255
        values = samples / (2**depth - 1)
        has_alpha = color_type in (GREY_ALPHA, RGBA)
        color, alpha = (values[..., :-1], values[..., -1:]) if has_alpha else (values, np.ones_like(values[..., :1]))
        if key is not None:
            alpha = 1.0 - np.all(samples == key, axis=-1, keepdims=True)
        return np.concatenate([np.broadcast_to(color, (*color.shape[:2], 3)), alpha], axis=-1)

    return convert


def random_parts(seed, channels, depth=8):
    """Returns six frames on a 12x9 canvas; the first one fills it."""
    draw = np.random.default_rng(seed)
    parts = []
    for i in range(6):
        h, w = (9, 12) if i == 0 else (int(draw.integers(1, 10)), int(draw.integers(1, 13)))
        samples = draw.integers(0, 2**depth, (h, w, channels))
        left, top = int(draw.integers(0, 13 - w)), int(draw.integers(0, 10 - h))
        parts.append(Part(samples, left, top, int(draw.integers(3)), int(draw.integers(2))))
    return parts


@pytest.mark.parametrize(
    ("color_type", "channels", "depth"),
    [(RGBA, 4, 8), (RGB, 3, 8), (GREY, 1, 8), (GREY_ALPHA, 2, 8), (PALETTE, 1, 8), (RGBA, 4, 16), (GREY, 1, 2)],
)
@pytest.mark.parametrize("seed", range(4))
def test_animated_png(tmp_path, color_type, channels, depth, seed):
    parts = random_parts(seed, channels, depth)
    extra = PALETTE_CHUNKS if color_type == PALETTE else b""
    (tmp_path / "a.png").write_bytes(apng_bytes(parts, 12, 9, color_type, depth, extra))
    read = read_video(tmp_path / "a.png")
    expected = expected_frames(parts, 12, 9, rgba_of(color_type, depth))
    assert read.shape == expected.shape
    assert np.abs(read - expected).max() <= (1 if depth <= 8 else 2)  # rounding; samples of 16 bits are cut to 8


@pytest.mark.parametrize("dispose", [NONE, BACKGROUND, PREVIOUS])
@pytest.mark.parametrize("blend", [SOURCE, OVER])
def test_a_half_seen_frame_over_an_opaque_one(tmp_path, dispose, blend):
    opaque = Part(np.full((9, 12, 4), [10, 200, 90, 255]), dispose=NONE)
    half = [Part(np.full((4, 5, 4), [200, 0, 0, 128]), i, i, dispose, blend) for i in range(3)]
    (tmp_path / "a.apng").write_bytes(apng_bytes([opaque, *half], 12, 9, RGBA))
    expected = expected_frames([opaque, *half], 12, 9, rgba_of(RGBA))
    assert np.abs(read_video(tmp_path / "a.apng") - expected).max() <= 1  # rounding


def test_a_picture_for_those_who_show_no_animation_is_no_frame(tmp_path):
    parts = random_parts(0, 3)
    still = np.zeros((9, 12, 3), int)
    (tmp_path / "a.png").write_bytes(apng_bytes(parts, 12, 9, RGB, still=still))
    assert np.abs(read_video(tmp_path / "a.png") - expected_frames(parts, 12, 9, rgba_of(RGB))).max() <= 1


def webp(path, frames, **options):
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True, exact=True, **options)


def test_animated_webp(tmp_path):
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, (5, 9, 12, 4), np.uint8)
    frames[:, :3, :, 3], frames[:, 3:6, :, 3], frames[:, 6:, :, 3] = 0, 128, 255
    webp(tmp_path / "a.webp", frames, background=(0, 0, 255, 255))
    alpha = frames[..., 3:] / 255
    expected = frames[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(read_video(tmp_path / "a.webp") - expected).max() <= 1  # rounding


def greys(n_frames, channels=3):
    return np.broadcast_to(np.arange(n_frames, dtype=np.uint8)[:, None, None, None], (n_frames, 6, 8, channels))


@pytest.mark.parametrize(
    ("delays", "n_frames", "picks"),
    [
        ([100, 100, 100, 700], 4, [0, 2, 3, 3]),  # at 0, 250, 500, 750
        ([0, 10, 100, 100], 4, [0, 1, 2, 3]),  # 10 ms and less are shown for 100, as browsers do
        ([50] * 12, 5, [0, 2, 4, 7, 9]),
        ([33, 33, 34] * 4, 6, [0, 2, 4, 6, 8, 10]),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_a_clip_of_an_animation_is_even_in_time(tmp_path, name, delays, n_frames, picks):
    frames = greys(len(delays))
    if name == "a.webp":
        webp(tmp_path / name, frames, duration=delays)
    else:
        parts = [Part(frame.astype(int), delay=(delay, 1000)) for frame, delay in zip(frames, delays, strict=True)]
        (tmp_path / name).write_bytes(apng_bytes(parts, 8, 6, RGB))
    assert read_clip(tmp_path / name, n_frames, 6)[:, 0, 0, 0].tolist() == picks


@pytest.mark.parametrize("orientation", EXIF_TURNS)
@pytest.mark.parametrize("kind", ["apng", "webp", "folder of png", "folder of jpg", "folder of webp"])
def test_every_orientation_of_pictures_is_applied(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    blocks = np.random.default_rng(0).integers(0, 256, (2, 2, 3, 3), np.uint8)
    frames = np.stack([np.kron(block, np.ones((8, 8, 1), np.uint8)) for block in blocks])
    path = tmp_path / f"a.{'png' if 'png' in kind else kind.split()[-1]}"
    if kind == "webp":
        webp(path, frames, exif=exif)
    elif kind == "apng":
        pictures = [Image.fromarray(frame) for frame in frames]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], exif=exif)
    else:
        frames = frames[:1]
        options = {"lossless": True} if "webp" in kind else {"quality": 100, "subsampling": 0} if "jpg" in kind else {}
        Image.fromarray(frames[0]).save(path, exif=exif, **options)
        path = tmp_path
    expected = np.stack([EXIF_TURNS[orientation](frame) for frame in frames])
    read = read_video(path)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).max() <= (4 if "jpg" in kind else 0)  # JPEG at its best


@pytest.mark.parametrize(
    ("color_type", "depth", "key"),
    [
        *[(GREY, depth, 1) for depth in (1, 2, 4, 8)],
        (GREY, 16, 40000),
        (RGB, 8, (10, 20, 30)),
        (RGB, 16, (40000, 300, 20000)),
        *[(GREY, depth, None) for depth in (1, 2, 4, 8, 16)],
        *[(kind, depth, None) for kind in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)],
        (PALETTE, 8, None),
    ],
)
def test_pictures_of_every_mode_on_white(tmp_path, color_type, depth, key):
    """`key` is the colour that stands for transparency."""
    channels = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}[color_type]
    samples = np.random.default_rng(0).integers(0, 2**depth, (9, 12, channels))
    extra = PALETTE_CHUNKS if color_type == PALETTE else b""
    if key is not None:
        samples[::2, ::3] = key
        extra = chunk(b"tRNS", struct.pack(f">{channels}H", *np.atleast_1d(key)))
    (tmp_path / "a.png").write_bytes(png_bytes(samples, color_type, depth, extra))
    rgba = rgba_of(color_type, depth, None if key is None else np.atleast_1d(key))(samples)
    expected = 255 * (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])
    assert np.abs(read_video(tmp_path)[0] - expected).max() <= 1.5  # samples of 16 bits are cut to 8; rounding


def test_still_pictures_of_webp(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.webp", lossless=True, exact=True)
    Image.fromarray(rgba[..., :3]).save(tmp_path / "b.webp", lossless=True)
    alpha = rgba[..., 3:] / 255
    first, second = read_video(tmp_path)
    assert np.abs(first - (rgba[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1
    np.testing.assert_array_equal(second, rgba[..., :3])


def test_a_phones_picture_of_two_in_one_is_a_picture(tmp_path):
    """An MPO is a JPEG that contains a second picture, with depth or another exposure."""
    first, second = (Image.new("RGB", (8, 6), color) for color in ("red", "blue"))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    read = read_video(tmp_path)
    assert read.shape == (1, 6, 8, 3) and read[0, 0, 0, 0] > 250
    assert_refused(tmp_path / "a.jpg", "single picture")


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_animations_in_a_folder_are_refused_by_name(tmp_path, name):
    for other in ("0.png", "z.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / other)
    if name == "a.webp":
        webp(tmp_path / name, greys(3))
    else:
        (tmp_path / name).write_bytes(apng_bytes([Part(frame.astype(int)) for frame in greys(3)], 8, 6, RGB))
    with pytest.raises(ValueError, match=rf"{name} is an animation.*give the path of that file"):
        read_video(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.apng"])
def test_single_pictures_are_refused(tmp_path, name):
    Image.new("RGB", (8, 6)).save(tmp_path / name, format="PNG" if name == "a.apng" else None)
    assert_refused(tmp_path / name, "single picture", "folder")


def test_an_animation_of_one_frame_is_a_picture(tmp_path):
    (tmp_path / "a.png").write_bytes(apng_bytes([Part(greys(1)[0].astype(int))], 8, 6, RGB))
    assert_refused(tmp_path / "a.png", "single picture")
    assert read_video(tmp_path).shape == (1, 6, 8, 3)


def animation(path):
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 256, (4, 6, 8, 3), np.uint8)
    if path.suffix == ".webp":
        webp(path, frames)
    else:
        path.write_bytes(apng_bytes([Part(frame.astype(int)) for frame in frames], 8, 6, RGB))
    return path.read_bytes()


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_animations_cut_anywhere_are_refused(tmp_path, name):
    path = tmp_path / name
    data = animation(path)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert_refused(path, "cannot be read in full")


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_bytes_after_an_animation_are_no_part_of_it(tmp_path, name):
    path = tmp_path / name
    data = animation(path)
    expected = read_video(path)
    for extra in (b"some text", bytes(100), data, data[:200]):
        path.write_bytes(data + extra)
        np.testing.assert_array_equal(read_video(path), expected)


def test_damaged_animated_pngs(tmp_path):
    path = tmp_path / "a.png"
    data = animation(path)
    at = data.rindex(b"fdAT") + 12
    path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    assert_refused(path, "cannot be read in full", "checksum")
    outside = Part(np.zeros((6, 8, 3), int), left=1)
    path.write_bytes(apng_bytes([Part(np.zeros((6, 8, 3), int)), outside], 8, 6, RGB))
    assert_refused(path, "cannot be read in full", "outside")
    count = chunk(b"acTL", struct.pack(">2I", 4, 0))
    path.write_bytes(data.replace(count, chunk(b"acTL", struct.pack(">2I", 5, 0))))
    assert_refused(path, "cannot be read in full", "says 5 frames, but it holds 4")
