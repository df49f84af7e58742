"""GIFs of every kind. The oracle is a compositor written from the GIF89a specification (`tests/gif_files.py`)."""

import numpy as np
import pytest

from rcjax.video_io import read_clip, read_video
from tests.gif_files import BACKGROUND, KEEP, LEAVE, PREVIOUS, Image, expected_frames, gif_bytes

GREY = np.repeat(np.arange(256)[:, None], 3, axis=1)
COLORS = np.random.default_rng(1).integers(0, 256, (256, 3))
OTHER_COLORS = np.random.default_rng(2).integers(0, 256, (256, 3))


def random_indices(seed, height=9, width=12):
    return np.random.default_rng(seed).integers(0, 256, (height, width))


def assert_reads_as_specified(tmp_path, *gif, **options):
    path = tmp_path / "a.gif"
    path.write_bytes(gif_bytes(*gif, **options))
    np.testing.assert_array_equal(read_video(path), expected_frames(*gif, **options))


@pytest.mark.parametrize("first", [GREY, COLORS, None])
@pytest.mark.parametrize("second", [GREY, COLORS, None])
def test_palettes_follow_each_other(tmp_path, first, second):
    """Tests a global palette and a local one of the second image; either may be grey or absent."""
    images = [Image(random_indices(0), palette=OTHER_COLORS if first is None else None)]
    images.append(Image(random_indices(1), palette=second if second is not None or first is not None else GREY))
    images.append(Image(random_indices(2), palette=OTHER_COLORS))
    assert_reads_as_specified(tmp_path, 12, 9, first, images)


@pytest.mark.parametrize("disposal", [KEEP, LEAVE, BACKGROUND, PREVIOUS])
@pytest.mark.parametrize("transparent", [None, 3])
def test_every_disposal_of_a_part(tmp_path, disposal, transparent):
    """Tests the disposal of the first image, which covers a part of the canvas, and of later ones."""
    parts = [random_indices(i, 4, 5) % 8 for i in range(4)]
    places = [(0, 0), (4, 3), (7, 5), (2, 2)]
    images = [Image(part, left, top, disposal, transparent) for part, (left, top) in zip(parts, places, strict=True)]
    assert_reads_as_specified(tmp_path, 12, 9, COLORS, images, background=5)


def test_a_cleared_area_does_not_show_the_hidden_colour(tmp_path):
    full = Image(np.full((9, 12), 2), disposal=LEAVE)
    parts = [Image(np.full((4, 4), 1), i, i, BACKGROUND, transparent=4) for i in range(4)]
    assert_reads_as_specified(tmp_path, 12, 9, COLORS, [full, *parts], background=0)


def test_interlaced(tmp_path):
    assert_reads_as_specified(tmp_path, 12, 9, COLORS, [Image(random_indices(0), interlaced=True)])


@pytest.mark.parametrize("seed", range(20))
def test_random_gifs(tmp_path, seed):
    draw = np.random.default_rng(seed)
    images = []
    for _ in range(6):
        height, width = draw.integers(1, 10), draw.integers(1, 13)
        images.append(
            Image(
                draw.integers(0, 8, (height, width)),
                left=int(draw.integers(0, 13 - width)),
                top=int(draw.integers(0, 10 - height)),
                disposal=int(draw.integers(0, 4)),
                transparent=[None, 0, 3][draw.integers(3)],
                palette=[None, GREY, OTHER_COLORS][draw.integers(3)],
                interlaced=bool(draw.integers(2)),
            )
        )
    assert_reads_as_specified(tmp_path, 12, 9, [COLORS, GREY][seed % 2], images, background=int(draw.integers(8)))


def test_an_image_whose_data_is_missing_is_refused(tmp_path):
    """The blocks are complete and lead to the trailer, but the codes in them end early."""
    data = gif_bytes(12, 9, COLORS, [Image(random_indices(0)), Image(random_indices(1))])
    image = data.rindex(b"\x08", 0, len(data) - 50)
    (tmp_path / "a.gif").write_bytes(data[: image + 1] + b"\x05" + data[image + 2 : image + 7] + b"\0;")
    with pytest.raises(ValueError, match="cannot be read in full"):
        read_video(tmp_path / "a.gif")


def test_bytes_after_a_gif_are_no_part_of_it(tmp_path):
    gif = gif_bytes(12, 9, COLORS, [Image(random_indices(i)) for i in range(3)])
    expected = None
    for extra in (b"", b"\n", b"some text", bytes(500), gif, gif[:300]):
        (tmp_path / "a.gif").write_bytes(gif + extra)
        read = read_video(tmp_path / "a.gif")
        expected = read if expected is None else expected
        np.testing.assert_array_equal(read, expected)


def picked_frames(tmp_path, delays, n_frames):
    """Returns which frames a clip takes. Frame i has the grey level i."""
    images = [Image(np.full((4, 4), i), delay=delay) for i, delay in enumerate(delays)]
    (tmp_path / "a.gif").write_bytes(gif_bytes(4, 4, GREY, images))
    return read_clip(tmp_path / "a.gif", n_frames, 4)[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("delays", "n_frames", "picks"),
    [
        ([10, 10, 10, 70], 4, [0, 2, 3, 3]),  # at 0, 25, 50 and 75 of 100
        ([70, 10, 10, 10], 4, [0, 0, 0, 1]),
        ([2, 4] * 4, 8, [0, 1, 2, 3, 4, 5, 6, 7]),  # every 3: 0, 3, 6, ...; starts 0, 2, 6, 8, ...
        ([0, 1, 10, 10], 4, [0, 1, 2, 3]),  # delays of 0 and 1 are shown for 10
        ([0, 0, 40, 0], 7, [0, 1, 2, 2, 2, 2, 3]),
        ([2, 2, 10], 7, [0, 1, 2, 2, 2, 2, 2]),  # a delay of 2 is used unchanged
        ([5] * 12, 5, [0, 2, 4, 7, 9]),  # even: floor(12 i / 5)
        ([3, 4, 3, 3, 4, 3, 3, 4, 3], 9, list(range(9))),  # even at 30 fps, rounded
    ],
)
def test_a_clip_is_even_in_time(tmp_path, delays, n_frames, picks):
    assert picked_frames(tmp_path, delays, n_frames) == picks
