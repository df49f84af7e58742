"""Curves of growing prefixes. The oracle is the similarity of the prefix as a video of its own."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rcjax
from rcjax.config import TaskSpec, VideoConfig
from rcjax.curve_animation import HOLD_SECONDS, MAX_FRAMES, MAX_SECONDS, grown, playback
from rcjax.curve_axes import label_demonstrations
from rcjax.curve_figure import write_curve
from rcjax.prefixes import Video, open_video, prefix_clips, prefix_lengths, whole_clip
from rcjax.ranking import best_first
from rcjax.reward_curve import RewardCurve, reward_curve
from rcjax.video_io import Timeline, even_timeline, fit_clip, read_clip, read_video
from rcjax.video_io.timeline import timeline_of_delays
from tests.encoders.tiny import make_encoder

CONFIG = VideoConfig(size=32, episode_length=8, frame_stride=1)
SPECS = [TaskSpec(text="robot closing green drawer"), TaskSpec(text="the drawer")]


def test_lengths_reach_from_one_frame_to_all():
    assert prefix_lengths(1).tolist() == [1]
    assert prefix_lengths(5).tolist() == [1, 2, 3, 4, 5]
    lengths = prefix_lengths(1000)
    assert (lengths[0], lengths[-1], len(lengths)) == (1, 1000, 32)
    assert set(np.diff(lengths)) == {32, 33}


def test_a_prefix_is_resampled_like_a_video_of_its_own(tiny_video):
    frames = read_video(tiny_video)
    clips = list(prefix_clips(open_video(tiny_video), np.array([1, 7, 13, 20]), CONFIG))
    for clip, length in zip(clips, (1, 7, 13, 20), strict=True):
        np.testing.assert_array_equal(clip, fit_clip(frames[:length], 8, 32))
    np.testing.assert_array_equal(clips[-1], read_clip(tiny_video, 8, 32))
    np.testing.assert_array_equal(clips[-1], whole_clip(open_video(frames), CONFIG))


def test_a_prefix_of_an_uneven_video_is_even_in_time():
    """Frames take 1, 3, 1 and 5 tenths of a second; the first three of them end at 5 tenths."""
    timeline = timeline_of_delays([Fraction(n, 10) for n in (1, 3, 1, 5)])
    prefix = timeline.prefix(3)
    assert prefix.duration == pytest.approx(0.5) and timeline.duration == pytest.approx(1.0)
    levels = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    video = Video(timeline, lambda indices, transform: {i: transform(levels[i]) for i in indices})
    (clip,) = prefix_clips(video, np.array([3]), CONFIG)
    moments = [Fraction(5 * i, 8) for i in range(8)]
    assert clip[:, 0, 0, 0].tolist() == [sum(moment >= start for start in (1, 4)) for moment in moments]


def test_the_curve_has_the_similarity_of_every_prefix(tiny_video):
    encoder, frames = make_encoder(), read_video(tiny_video)
    curve = reward_curve(open_video(tiny_video), SPECS, encoder, CONFIG)
    assert curve.values.shape == (2, 20) and curve.unit == "seconds"
    np.testing.assert_allclose(curve.times, np.arange(1, 21) / 10, rtol=1e-6)
    for k in (0, 6, 12):
        expected = rcjax.reward_of(frames[: k + 1], SPECS, encoder)
        np.testing.assert_allclose(curve.values[:, k], expected, rtol=1e-5, atol=1e-5)  # another batch
    whole = rcjax.reward_of(tiny_video, SPECS, encoder)
    np.testing.assert_allclose(curve.values[:, -1], whole, rtol=1e-5, atol=1e-5)


def test_a_curve_of_an_array_counts_frames():
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    curve = reward_curve(open_video(frames), SPECS, make_encoder(), CONFIG)
    assert curve.times.tolist() == [1, 2, 3] and curve.unit == "frames"


def test_best_first_keeps_the_order_of_equal_ones():
    assert best_first(np.array([1.0, 3.0, -2.0, 3.0])) == [1, 3, 0, 2]


def make_curve(n_points, n_lines=2, is_timed=True):
    values = np.cumsum(np.random.default_rng(0).normal(size=(n_lines, n_points)), 1)
    return RewardCurve(np.arange(1, n_points + 1), np.arange(1, n_points + 1) / 10, is_timed, values)


def test_a_growing_curve_is_cut_on_its_straight_lines():
    curve = make_curve(4)
    times, values = grown(curve, 0.25)
    np.testing.assert_allclose(times, [0.1, 0.2, 0.25])
    np.testing.assert_allclose(values[:, :2], curve.values[:, :2])
    np.testing.assert_allclose(values[:, 2], curve.values[:, 1:3].mean(1))
    np.testing.assert_allclose(grown(curve, 0.4)[1], curve.values)
    assert grown(curve, 0.05)[0].tolist() == [0.1]


@pytest.mark.parametrize(
    ("timeline", "n_shown", "seconds"),
    [
        (Timeline(range(60), 60, Fraction(1, 20)), 60, 3),
        (Timeline(range(90), 90, Fraction(1, 30)), 60, 3),  # at most 20 frames per second
        (Timeline(range(4), 4, Fraction(1)), 40, 4),  # at least 10
        (Timeline(range(9000), 9000, Fraction(1, 30)), MAX_FRAMES, MAX_SECONDS),  # fast motion
        (even_timeline(30), 30, 3),  # a folder of pictures
        (Timeline([0], 1, Fraction(1, 1000)), 1, 1 / 50),  # no faster than a GIF plays
    ],
)
def test_an_animation_plays_in_real_time_up_to_half_a_minute(timeline, n_shown, seconds):
    got, fps = playback(Video(timeline, lambda indices, transform: {}))
    assert got == n_shown
    assert got / fps == pytest.approx(seconds)


def test_labels_are_short_and_tell_files_apart():
    specs = [TaskSpec(text="robot " * 100), TaskSpec(video="a/x.gif"), TaskSpec(video="b/x.gif"), TaskSpec(video="c/y")]
    labels = label_demonstrations(specs)
    assert len(labels[0]) <= 100 and labels[0].startswith("“robot")
    assert labels[1:] == ["a/x.gif", "b/x.gif", "y"]


ODD = [TaskSpec(text=r"pay $\frac$"), TaskSpec(video="_hidden.gif")]  # a formula's dollar, a legend's underscore


def test_the_picture_has_the_curve_and_the_frames(tiny_video, tmp_path):
    write_curve(tmp_path / "new" / "curve.png", make_curve(20), open_video(tiny_video), ODD, "square.gif, encoder tiny")
    with Image.open(tmp_path / "new" / "curve.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[1] == 1100
    for colour in ((31, 119, 180), (255, 127, 14), (220, 60, 60)):  # both lines, and the square in the video
        assert (abs(pixels - colour).max(-1) < 12).sum() > 50
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["curve.png"]


@pytest.mark.parametrize("name", ["curve.gif", pytest.param("curve.mp4", marks=pytest.mark.slow)])
def test_in_the_animation_the_curve_grows(tiny_video, tmp_path, name):
    write_curve(tmp_path / name, make_curve(20), open_video(tiny_video), ODD, "square.gif, encoder tiny")
    frames = read_video(tmp_path / name).astype(int)
    assert len(frames) == 20 + round(HOLD_SECONDS * 10)
    drawn = [(abs(frame - (31, 119, 180)).max(-1) < 60).sum() for frame in frames]
    assert drawn[0] < drawn[9] < drawn[19] and drawn[19] == pytest.approx(drawn[-1], rel=0.1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_single_frame_has_a_curve_of_one_point(tmp_path):
    video = open_video(np.full((1, 90, 30, 3), 90, np.uint8))
    curve = RewardCurve(np.array([1]), np.array([1.0]), False, np.array([[0.5]]))
    for name in ("curve.png", "curve.gif"):
        write_curve(Path(tmp_path, name), curve, video, SPECS[:1], "one")
        assert (tmp_path / name).stat().st_size > 1000
