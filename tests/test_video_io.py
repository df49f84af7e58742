"""Reads and writes videos. Oracles: the written arrays, the GIF, MP4 and PNG specifications, and indices by hand.

Files are written with PyAV and Pillow directly, except where `write_video` is tested.
"""

import av
import numpy as np
import pytest
from PIL import Image

from rcjax import video_io
from rcjax.video_io import fit_clip, frame_indices, read_clip, read_video, side_by_side, write_video
from tests.video_files import LOSSY, encode, moving_blocks

TYPECHECKED = pytest.mark.skipif(
    hasattr(fit_clip, "__wrapped__"),
    reason="run with --jaxtyping-packages, which refuses these arguments first",
)


@pytest.fixture(scope="module")
def frames():
    return moving_blocks()


def mean_error(a, b):
    return np.abs(a.astype(float) - b).mean()


# reading


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.MOV", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.avi", "mpeg4"),
    ],
)
def test_reads_every_frame_in_order(tmp_path, frames, name, codec):
    path = tmp_path / name
    encode(path, frames, codec)
    read = read_video(path)
    assert read.shape == frames.shape and read.dtype == np.uint8
    errors = np.array([[mean_error(ours, theirs) for theirs in frames[:8]] for ours in read[:8]])
    assert np.all(errors.argmin(axis=1) == np.arange(8)) and np.all(np.diag(errors) < LOSSY)


def test_gif_with_partial_transparent_frames(tmp_path):
    """A red frame is followed by a green square with a transparent middle, which is drawn over it."""
    red = Image.new("P", (20, 16))
    red.putpalette([255, 0, 0, 0, 255, 0])
    square = Image.new("P", (20, 16), 2)
    square.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 0])
    square.paste(1, (4, 4, 12, 12))
    square.paste(2, (6, 6, 8, 8))
    path = tmp_path / "a.gif"
    red.save(path, save_all=True, append_images=[square], transparency=2, disposal=1, duration=100)
    expected = np.zeros((2, 16, 20, 3), np.uint8)
    expected[..., 0] = 255
    expected[1, 4:12, 4:12] = [0, 255, 0]
    expected[1, 6:8, 6:8] = [255, 0, 0]
    np.testing.assert_array_equal(read_video(path), expected)


def test_transparent_background_of_a_gif_is_white(tmp_path):
    picture = Image.new("RGBA", (6, 4), (0, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 3, 4))
    picture.save(tmp_path / "a.gif", save_all=True, append_images=[picture.transpose(0)], disposal=2)
    first, second = read_video(tmp_path / "a.gif")
    np.testing.assert_array_equal(first[0], [[0, 0, 255]] * 3 + [[255] * 3] * 3)
    np.testing.assert_array_equal(second[0], [[255] * 3] * 3 + [[0, 0, 255]] * 3)


def test_grey_gif_becomes_rgb(tmp_path):
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
    Image.fromarray(grey).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_video(tmp_path / "a.gif"), np.repeat(grey[None, ..., None], 3, axis=-1))


def test_folder_in_natural_order(tmp_path, frames):
    for i in (10, 2, 1, 9, 100):
        Image.fromarray(frames[i % 24]).save(tmp_path / f"frame{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".frame0.png").write_text("left by an editor")
    np.testing.assert_array_equal(read_video(tmp_path), frames[[1, 2, 9, 10, 100 % 24]])


def test_pictures_of_every_mode_become_rgb(tmp_path):
    colour = np.full((4, 6, 3), [200, 100, 50], np.uint8)
    alpha = np.concatenate([colour, np.full((4, 6, 1), 128, np.uint8)], axis=-1)
    pictures = {
        "1_rgba.png": (Image.fromarray(alpha), 255 + (colour.astype(float) - 255) * 128 / 255),
        "2_grey.png": (Image.fromarray(colour[..., 0]), np.full((4, 6, 3), 200)),
        "3_palette.png": (Image.fromarray(colour).quantize(4), colour),
        "4_grey16.png": (Image.fromarray(np.full((4, 6), 200 * 257, np.uint16)), np.full((4, 6, 3), 200)),
        "5_cmyk.jpg": (Image.fromarray(colour).convert("CMYK"), colour),
        "6_rgb.JPEG": (Image.fromarray(colour), colour),
    }
    for name, (picture, _) in pictures.items():
        picture.save(tmp_path / name, **({"quality": 100} if "j" in name.lower() else {}))
    for frame, (name, (_, expected)) in zip(read_video(tmp_path), pictures.items(), strict=True):
        tolerance = 3 if "j" in name.lower() else 1  # JPEG at its best; rounding of the blend
        assert np.abs(frame - np.asarray(expected, float)).max() <= tolerance, name


def test_rotation_of_a_phone_picture_is_applied(tmp_path, frames):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's top is on the right: turn clockwise to show (EXIF 2.3, orientation)
    Image.fromarray(frames[0]).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    assert mean_error(read_video(tmp_path)[0], np.rot90(frames[0], -1)) < LOSSY


# what cannot be read


def assert_refused(path, *parts):
    """Asserts that reading fails with one line that names the file and contains `parts`."""
    with pytest.raises(ValueError) as caught:
        read_video(path)
    message = str(caught.value)
    assert type(caught.value) is ValueError and "\n" not in message
    for part in (str(path.name), *parts):
        assert part in message, message


def test_missing_file(tmp_path):
    assert_refused(tmp_path / "a.mp4", "does not exist", "folder")


def test_unknown_types_name_the_known_ones(tmp_path):
    for name in ("a.txt", "a", "a.mp3"):
        (tmp_path / name).write_bytes(b"hello")
        assert_refused(tmp_path / name, ".mp4", ".webm", "GIF", "convert")


def test_single_picture(tmp_path, frames):
    Image.fromarray(frames[0]).save(tmp_path / "a.png")
    assert_refused(tmp_path / "a.png", "single picture", "folder")


def test_folder_without_pictures(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    assert_refused(tmp_path, "no pictures", ".png")


def test_folder_of_different_sizes(tmp_path, frames):
    Image.fromarray(frames[0]).save(tmp_path / "1.png")
    Image.fromarray(frames[0, :, :32]).save(tmp_path / "2.png")
    assert_refused(tmp_path, "frame 1 is 32x48", "64x48", "one size")


def test_folder_with_a_damaged_picture(tmp_path, frames):
    Image.fromarray(frames[0]).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"2\.png cannot be read in full"):
        read_video(tmp_path)


@pytest.mark.parametrize("suffix", [".gif", *video_io.VIDEO_SUFFIXES])
def test_empty_and_foreign_files(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for content in (b"", b"this is no video at all, only some text", bytes(5000)):
        path.write_bytes(content)
        assert_refused(path, "cannot be read in full")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "faststart"}),  # the index comes first: decodes up to the cut
        ("a.mov", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.mkv", "libx264", {}),
        ("a.avi", "mpeg4", {}),
        ("a.gif", None, {}),
    ],
)
def test_a_video_cut_anywhere_is_refused(tmp_path, frames, name, codec, options):
    path = tmp_path / name
    if codec:
        encode(path, frames, codec, **options)
    else:
        write_video(path, frames, 10)
    data = path.read_bytes()
    assert len(read_video(path)) == 24
    for length in np.linspace(0, len(data) - 1, 40).astype(int):
        path.write_bytes(data[:length])
        assert_refused(path, "cannot be read in full")


def test_damage_inside_an_mp4_is_refused(tmp_path, frames):
    path = tmp_path / "a.mp4"
    encode(path, frames)
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    assert_refused(path, "cannot be read in full")


def test_damage_that_the_decoder_paints_over_is_refused(tmp_path, frames):
    path = tmp_path / "a.avi"
    encode(path, frames, "mpeg4")
    data = bytearray(path.read_bytes())
    start = data.index(b"movi") + 1200
    data[start : start + 40] = b"Z" * 40
    path.write_bytes(data)
    assert_refused(path, "a frame does not decode")


def test_a_cut_that_only_a_packet_shows_is_refused(tmp_path, frames):
    """The data box of this MP4 has the size 0, which means that it extends to the end of the file."""
    path = tmp_path / "a.mp4"
    encode(path, frames, "mpeg4", movflags="faststart")
    data = bytearray(path.read_bytes())
    box = data.index(b"mdat") - 4
    data[box : box + 4] = bytes(4)
    path.write_bytes(data)
    assert len(read_video(path)) == 24
    for length in range(box + 100, len(data), 250):
        path.write_bytes(data[:length])
        assert_refused(path, "cannot be read in full")


def test_sound_without_pictures(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    assert_refused(tmp_path / "a.mp4", "no video stream")


def test_a_video_too_large_for_memory(tmp_path, frames, monkeypatch):
    write_video(tmp_path / "a.mp4", frames, 10)
    monkeypatch.setattr(video_io, "MAX_BYTES", frames[:20].nbytes)
    assert_refused(tmp_path / "a.mp4", "GiB", "ffmpeg")
    assert read_clip(tmp_path / "a.mp4", 4, 16).shape == (4, 16, 16, 3)


# clips


@pytest.mark.parametrize(
    ("available", "wanted", "indices"),
    [
        (128, 32, list(range(0, 128, 4))),
        (32, 32, list(range(32))),
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (16, 5, [0, 3, 6, 9, 12]),
        (26, 4, [0, 6, 13, 19]),
        (1, 3, [0, 0, 0]),
    ],
)
def test_frame_indices_by_hand(available, wanted, indices):
    assert frame_indices(available, wanted).tolist() == indices


def test_a_clip_that_fits_is_unchanged(frames):
    square = frames[:, :, 8:56]
    np.testing.assert_array_equal(fit_clip(square, 24, 48), square)
    np.testing.assert_array_equal(fit_clip(frames, 24, 48), square)  # the centre of 64 columns


def test_crop_takes_the_centre_pixels_as_the_release_does():
    frame = np.random.default_rng(1).integers(0, 256, (1, 480, 640, 3), np.uint8)
    np.testing.assert_array_equal(fit_clip(frame, 1, 250, "crop"), frame[:, 115:365, 195:445])


def test_resize_averages_instead_of_skipping_pixels():
    """A one-pixel checkerboard becomes mid-grey at a quarter of its size, instead of black or white."""
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    clip = fit_clip(np.repeat(checkers[None, ..., None], 3, axis=-1), 1, 16)
    assert np.abs(clip[0, 2:-2, 2:-2].astype(int) - 127).max() <= 3  # rounding; borders see fewer pixels


def test_resize_keeps_shapes_and_stretch_does_not():
    frame = np.zeros((1, 40, 80, 3), np.uint8)
    frame[:, 10:30, 30:50] = 255  # a square of 20, half as high as the frame
    for fit, width in (("resize", 20), ("stretch", 10)):
        lit = fit_clip(frame, 1, 40, fit)[0, ..., 0] > 127
        assert lit.any(axis=1).sum() == 20 and lit.any(axis=0).sum() == width


@pytest.mark.parametrize("fit", ["resize", "crop", "stretch"])
def test_read_clip_is_fit_clip_of_read_video(tmp_path, frames, fit):
    write_video(tmp_path / "a.gif", frames, 10)
    expected = fit_clip(read_video(tmp_path / "a.gif"), 7, 30, fit)
    assert expected.shape == (7, 30, 30, 3)
    np.testing.assert_array_equal(read_clip(tmp_path / "a.gif", 7, 30, fit), expected)


@TYPECHECKED
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 16), "n_frames=0"),
        ((4, 0), "size=0"),
        ((4, 49, "crop"), "64x48 are smaller than the 49x49.*resize"),
        ((4, 16, "squash"), "squash.*stretch"),
    ],
)
def test_impossible_clips(frames, arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_clip(frames, *arguments)


@TYPECHECKED
@pytest.mark.parametrize("bad", [np.zeros((2, 4, 4)), np.zeros((0, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), np.uint8)])
def test_only_rgb_bytes_are_frames(bad):
    with pytest.raises(ValueError, match="expected uint8"):
        fit_clip(bad, 2, 2)


# writing


def test_gif_of_few_colours_comes_back_exactly(tmp_path, frames):
    still = np.concatenate([frames[:3], frames[2:3], frames[2:3], frames[:1]])  # equal frames are frames too
    plain = np.full_like(still, [200, 30, 10])
    plain[2:4, 5:20, 5:30] = [3, 250, 7]  # a second colour comes and goes: the first palette is used again
    for name, video in (("still.gif", still), ("plain.gif", plain)):
        write_video(tmp_path / name, video, 10)
        np.testing.assert_array_equal(read_video(tmp_path / name), video)


def test_gif_of_many_colours_keeps_close_ones(tmp_path):
    ramp = np.indices((64, 64)).astype(np.uint8)
    frames = np.stack([4 * ramp[0], 4 * ramp[1], 2 * (ramp[0] + ramp[1])], axis=-1)[None]
    write_video(tmp_path / "a.gif", frames, 10)
    assert mean_error(read_video(tmp_path / "a.gif"), frames) < 10  # 4096 colours in 256: cells of about 16


def test_gif_delays_add_up_to_the_frame_rate(tmp_path, frames):
    write_video(tmp_path / "a.gif", frames, 30)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["loop"] == 0  # for ever
        delays = []
        for i in range(image.n_frames):
            image.seek(i)
            delays.append(image.info["duration"])
    assert len(delays) == 24 and set(delays) == {30, 40} and sum(delays) == 800


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_mp4_comes_back_and_odd_sizes_repeat_their_edge(tmp_path, frames, height, width):
    write_video(tmp_path / "a.mp4", frames[:, :height, :width], 12.5)
    read = read_video(tmp_path / "a.mp4")
    assert read.shape == frames.shape
    assert mean_error(read[:, :height, :width], frames[:, :height, :width]) < LOSSY
    assert mean_error(read[:, -1], frames[:, height - 1]) < LOSSY
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 12.5)


def test_mp4_keeps_colours(tmp_path):
    """Uniform colours can only be changed by the colour matrix, which the file states, and by rounding."""
    colours = np.array([[255, 0, 0], [0, 200, 30], [40, 40, 220], [255, 255, 255], [0, 0, 0]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (5, 32, 32, 3))
    write_video(tmp_path / "a.mp4", frames, 10)
    assert np.abs(read_video(tmp_path / "a.mp4").astype(int) - frames).max() <= 6  # 8-bit YUV and quantisation
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.colorspace == 1  # BT.709 (ISO/IEC 23091-2)


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [
        ("a.webm", 10, r"'\.webm'.*\.gif or \.mp4"),
        ("a", 10, r"\.gif or \.mp4"),
        ("a.mp4", 0, "fps=0"),
        ("a.mp4", float("nan"), "fps=nan"),
        ("a.gif", 60, "fps=60.*at most 50"),
    ],
)
def test_impossible_files(tmp_path, frames, name, fps, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / name, frames, fps)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, frames, monkeypatch):
    path = tmp_path / "new" / "a.mp4"
    write_video(path, frames, 10)
    before = path.read_bytes()

    def fails(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(video_io.os, "replace", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        write_video(path, frames[:3], 10)
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"] and path.read_bytes() == before


# beside each other


def test_side_by_side_scales_to_one_height_and_length(frames):
    small, large = frames[:6, :12, :16], np.full((12, 300, 200, 3), 9, np.uint8)
    both = side_by_side(small, large, gap=10)
    assert both.shape == (12, 300, 400 + 10 + 200, 3)
    np.testing.assert_array_equal(both[5, ::25, :400:25], small[2])  # 25 times as large; half as fast
    np.testing.assert_array_equal(both[:, :, 410:], large)
    assert np.all(both[:, :, 400:410] == 255)


def test_small_videos_are_enlarged(frames):
    both = side_by_side(frames, frames)
    assert both.shape[1] == 256
    assert set(np.unique(both[0].reshape(-1, 3), axis=0).tobytes()) <= set(
        np.unique(np.vstack([frames[0].reshape(-1, 3), [[255] * 3]]).astype(np.uint8), axis=0).tobytes()
    )  # nearest neighbour makes no new colours


def test_labels_are_drawn_above_each_video(frames):
    plain = side_by_side(frames, frames)
    labelled = side_by_side(frames, frames, ("policy", "demonstration " * 20))
    strip = labelled.shape[1] - plain.shape[1]
    assert strip > 0
    np.testing.assert_array_equal(labelled[:, strip:], plain)
    width = (plain.shape[2] - 8) // 2
    left, gap, right = np.split(labelled[0, :strip], [width, width + 8], axis=1)
    assert left.min() < 50 and right.min() < 50 and gap.min() == 255
    assert left[:, width // 2 :].min() == 255 and right[:, -4:].min() == 255  # short one short, long one cut
