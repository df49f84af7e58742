"""Clips with even spacing in time. The oracle searches all frames for the one on screen at i / n of the duration."""

from fractions import Fraction

import av
import numpy as np
import pytest

from rcjax.video_io import fit_clip, frame_indices, read_clip, read_video
from rcjax.video_io.streams import FrameTimestamps, frame_starts, stream_timeline
from rcjax.video_io.timeline import Timeline, frame_indices_in_time, timeline_of_delays
from tests.video_files import encode, grey_levels

UNEVEN = [0, 100, 200, 300, 350, 400, 450, 500, 900, 1000, 1100, 1200]  # milliseconds
END = 1300


def frames_on_screen(starts, end, n_frames):
    moments = [starts[0] + Fraction((end - starts[0]) * i, n_frames) for i in range(n_frames)]
    return [max(i for i, start in enumerate(starts) if start <= moment) for moment in moments]


def picked_frames(path, n_frames):
    """Returns which frames a clip takes. Frame i has the grey level 10 i, which codecs change by less than 5."""
    return np.rint(read_clip(path, n_frames, 32)[:, 16, 16, 1] / 10).astype(int).tolist()


@pytest.mark.parametrize("n_frames", [1, 4, 8, 13, 32])
@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("b.mp4", "mpeg4"), ("a.mov", "qtrle"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")],
)
def test_variable_frame_rates(tmp_path, name, codec, n_frames):
    path = tmp_path / name
    encode(path, grey_levels(12), codec, "rgb24" if codec == "qtrle" else "yuv420p", starts=[*UNEVEN, END])
    assert picked_frames(path, n_frames) == frames_on_screen(UNEVEN, END, n_frames)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mp4", "mpeg4"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.avi", "libx264")],
)
@pytest.mark.parametrize(
    "fps", [*(pytest.param(n, marks=pytest.mark.slow) for n in (10, 24)), 30, Fraction(30000, 1001)]
)
def test_even_frames_are_picked_by_their_number(tmp_path, name, codec, fps):
    """Matroska rounds to milliseconds, H.264 has B-frames, and AVI gives them timestamps in decoding order."""
    path = tmp_path / name
    frames = grey_levels(24)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    whole = read_video(path)
    for n_frames in (7, 8, 48):
        assert picked_frames(path, n_frames) == frame_indices(24, n_frames).tolist()
        np.testing.assert_array_equal(read_clip(path, n_frames, 32), fit_clip(whole, n_frames, 32))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mp4", "mpeg4"), ("a.mkv", "libx264")])
def test_a_last_frame_that_stays(tmp_path, name, codec):
    """All other frames are even; tested with and without B-frames."""
    starts = [100 * i for i in range(12)]
    encode(tmp_path / name, grey_levels(12), codec, starts=[*starts, 1800])
    for n_frames in (4, 8, 13):
        assert picked_frames(tmp_path / name, n_frames) == frames_on_screen(starts, 1800, n_frames)


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_one_frame_is_a_video(tmp_path, n_frames):
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx-vp9")):
        encode(tmp_path / name, grey_levels(1), codec)
        assert picked_frames(tmp_path / name, n_frames) == [0] * n_frames


def test_the_part_outside_an_edit_list_is_not_shown(tmp_path):
    """The edit begins at the fourth of twelve frames, which is not a keyframe."""
    path = tmp_path / "a.mp4"
    encode(path, grey_levels(12), "mpeg4")
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12  # past version, flags and count: duration in movie ticks, then media time
    timescale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    movie_timescale = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    data[entry : entry + 4] = (movie_timescale * 9 // 10).to_bytes(4, "big")
    data[entry + 4 : entry + 8] = (timescale * 3 // 10).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(read_video(path)) == 9
    assert picked_frames(path, 9) == list(range(3, 12))


def test_a_folder_and_even_delays_are_as_by_number():
    for n_available in (1, 2, 9, 26, 128):
        delays = timeline_of_delays([Fraction(3, 100)] * n_available)
        for n_frames in (1, 4, 32, 50):
            assert frame_indices_in_time(delays, n_frames).tolist() == frame_indices(n_available, n_frames).tolist()


@pytest.mark.parametrize("rate", [Fraction(1000, 24), Fraction(1001, 30), Fraction(1000, 60), Fraction(1000, 7)])
@pytest.mark.parametrize("round_time", [round, int])
def test_rounded_timestamps_count_as_even(rate, round_time):
    """Tests milliseconds, and the finer ticks of an MP4 that was made from a Matroska file."""
    for finer in (1, 16, 90):
        starts = [round_time(i * rate) * finer for i in range(128)]
        timeline = Timeline(starts, starts[-1] + round_time(rate) * finer, Fraction(1, 1000 * finer))
        assert timeline.is_even()
        assert frame_indices_in_time(timeline, 32).tolist() == list(range(0, 128, 4))


@pytest.mark.parametrize("seed", range(10))
def test_uneven_timelines(seed):
    draw = np.random.default_rng(seed)
    gaps = draw.integers(1, 400, draw.integers(3, 30)).tolist()
    starts = np.cumsum([7, *gaps]).tolist()
    end = starts[-1] + int(draw.integers(1, 900))
    timeline = Timeline(starts, end, Fraction(1, 1000))
    assert not timeline.is_even()
    for n_frames in (1, 5, 32):
        assert frame_indices_in_time(timeline, n_frames).tolist() == frames_on_screen(starts, end, n_frames)


@pytest.mark.parametrize(
    ("delays", "is_even"),
    [
        ([10, 10, 10, 10], True),
        ([10, 10, 10, 30], False),  # the last frame counts too
        ([2, 4, 2, 4], False),
        ([3, 3, 4, 3, 3, 4], True),
        ([3, 3, 3, 3, 3, 4, 4, 4, 4, 4], False),  # another rate from the middle on
        ([50], True),
    ],
)
def test_what_counts_as_even(delays, is_even):
    starts = np.cumsum([0, *delays]).tolist()
    assert Timeline(starts[:-1], starts[-1], Fraction(1, 100)).is_even() == is_even


def test_ticks_as_long_as_a_frame_are_no_rounding():
    """At 25 ticks per second, a gap of 2 is a dropped frame, as of a recorder under load."""
    assert not Timeline([0, 1, 2, 4, 5, 6, 8, 9, 10], 12, Fraction(1, 25)).is_even()


@pytest.mark.parametrize(
    ("pts", "dts", "starts"),
    [
        ([0, 1, 2], [0, 1, 2], [0, 1, 2]),
        ([-2, -1, 0], [None] * 3, [-2, -1, 0]),
        ([None, None, None], [None] * 3, [0, 1, 2]),
        ([5, None, 7], [None] * 3, [5, 6, 7]),
        ([5, 5, 7], [None] * 3, [5, 5, 7]),  # the first frame is never shown
        ([1, 4, 3, 5, 2], [2, 3, 4, 5, None], [2, 3, 4, 5, 6]),  # B-frames of an AVI
        ([0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 4, 5]),  # the clock restarts
        ([0, 1, 2, 0, 1, 5], [None] * 6, [0, 1, 2, 3, 4, 8]),
    ],
)
def test_strange_timestamps(pts, dts, starts):
    timestamps = [FrameTimestamps(*both, duration=1) for both in zip(pts, dts, strict=True)]
    assert frame_starts(timestamps) == starts


@pytest.mark.parametrize(
    ("duration", "header_end", "end", "is_even"),
    [
        (100, None, 400, True),
        (0, None, 400, True),  # the last frame lasts as long as the gap before it
        (100, 403, 400, True),  # the header is rounded
        (100, 900, 900, False),  # the duration belongs to another frame, or is guessed
        (700, 400, 400, True),
        (700, 1000, 1000, False),
        (100, 250, 400, True),  # not a possible end
    ],
)
def test_the_end_of_the_last_frame(duration, header_end, end, is_even):
    timestamps = [FrameTimestamps(100 * i, 100 * i, duration if i == 3 else 100) for i in range(4)]
    timeline = stream_timeline(timestamps, header_end, Fraction(1, 1000))
    assert (timeline.end, timeline.is_even()) == (end, is_even)


def test_timestamps_that_are_all_the_same_say_nothing():
    timeline = stream_timeline([FrameTimestamps(5, 5, 0)] * 6, None, Fraction(1, 1000))
    assert frame_indices_in_time(timeline, 3).tolist() == [0, 2, 4]
