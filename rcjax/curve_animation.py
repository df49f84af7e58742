"""The animation of a reward curve: the curve grows beside the playing video, as GIF or MP4."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from rcjax.config import TaskSpec
from rcjax.curve_axes import add_texts, label_demonstrations, legend_height, plot_lines, shrink, time_label
from rcjax.prefixes import Video
from rcjax.reward_curve import RewardCurve
from rcjax.video_io import GIF_MAX_FPS, Frame, frame_indices_in_time, write_video

WIDTH, HEIGHT = 10.0, 3.9  # inches, without the legend
TITLE_HEIGHT, LABEL_HEIGHT, LABEL_WIDTH, MARGIN = 0.45, 0.55, 0.85, 0.15  # inches
MAX_SCREEN = 5.0  # inches; a wider video is shown smaller
DPI = 100
MAX_SECONDS = 30.0  # longer videos are shown in fast motion
MIN_FPS, MAX_FPS = 10.0, 20.0
MAX_FRAMES = 200  # limits the memory, of which a frame takes more than a megabyte
FOLDER_FPS = 10.0  # at which a folder of pictures is played
HOLD_SECONDS = 1.5  # for which the end is shown
MAX_HEIGHT = 360  # pixels of the video


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A figure whose background is drawn once, and the artists that are drawn anew for every frame."""

    canvas: FigureCanvasAgg
    picture: AxesImage
    lines: Sequence[Line2D]
    cursor: Line2D


def animate_curve(path: Path, curve: RewardCurve, video: Video, specs: Sequence[TaskSpec], title: str) -> None:
    """Writes a GIF or MP4 in which the curve of each demonstration grows beside the playing video.

    It plays in real time if the video is no longer than `MAX_SECONDS`.
    """
    n_shown, fps = playback(video)
    indices = frame_indices_in_time(video.timeline, n_shown).tolist()
    indices[-1] = video.n_frames - 1  # so that the end of the video is seen with the whole curve
    shown = video.read(set(indices), lambda frame: shrink(frame, MAX_HEIGHT))
    moments = curve.times[-1] * np.arange(1, n_shown + 1) / n_shown  # at which the frames have been shown
    frames = _draw_frames(curve, [shown[i] for i in indices], moments, label_demonstrations(specs), title)
    held = np.repeat(frames[-1:], round(HOLD_SECONDS * fps), axis=0)
    write_video(path, np.concatenate([frames, held]), fps=fps)


def playback(video: Video) -> tuple[int, float]:
    """Returns the number of frames of the animation, without the held end, and their rate per second."""
    seconds = video.timeline.duration / (1.0 if video.timeline.is_timed else FOLDER_FPS)
    played = min(seconds, MAX_SECONDS)
    rate = np.clip(video.n_frames / seconds, MIN_FPS, MAX_FPS)
    n_shown = int(np.clip(round(played * rate), 1, MAX_FRAMES))
    return n_shown, min(n_shown / played, float(GIF_MAX_FPS))


def grown(curve: RewardCurve, moment: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the times [k] and values [M k] of the curve up to a moment, which need not be one of its points.

    Between two points the curve is a straight line. Up to the first point it has that point alone.
    """
    moment = max(moment, float(curve.times[0]))
    before = curve.times < moment
    ends = np.array([np.interp(moment, curve.times, values) for values in curve.values])
    return np.append(curve.times[before], moment), np.concatenate([curve.values[:, before], ends[:, None]], axis=1)


def _draw_frames(
    curve: RewardCurve, shown: Sequence[Frame], moments: np.ndarray, labels: Sequence[str], title: str
) -> UInt8[np.ndarray, "n h w 3"]:
    """Returns the frames of the animation. Only what moves is drawn for each, because the rest takes much longer."""
    drawn = _make_canvas(curve, shown[0], labels, title)
    drawn.canvas.draw()
    background = drawn.canvas.copy_from_bbox(drawn.canvas.figure.bbox)
    frames = []
    for frame, moment in zip(shown, moments.tolist(), strict=True):
        drawn.canvas.restore_region(background)
        _draw_moment(drawn, curve, frame, moment)
        frames.append(np.asarray(drawn.canvas.buffer_rgba())[..., :3].copy())
    return np.stack(frames)


def _make_canvas(curve: RewardCurve, frame: Frame, labels: Sequence[str], title: str) -> Canvas:
    height = HEIGHT + legend_height(labels)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    screen, axis = _make_axes(figure, height, frame.shape[1] / frame.shape[0])
    picture = screen.imshow(frame, animated=True)
    lines = plot_lines(axis, curve, marker="o", markevery=[-1], animated=True)
    axis.set_ylim(axis.get_ylim())  # the limits of the whole curve
    axis.set_xlabel(time_label(curve))
    cursor = axis.axvline(0, color="black", alpha=0.4, linewidth=1, clip_on=False, animated=True)
    add_texts(figure, lines, labels, curve, title, legend_place="lower center")
    return Canvas(canvas, picture, lines, cursor)


def _make_axes(figure: Figure, height: float, aspect: float) -> tuple[Axes, Axes]:
    """Returns the axes of the video and, to its right, those of the curve, which have the same height."""
    top, bottom = 1 - TITLE_HEIGHT / height, (height - HEIGHT + LABEL_HEIGHT) / height
    width = min(aspect * (HEIGHT - TITLE_HEIGHT - LABEL_HEIGHT), MAX_SCREEN) / WIDTH
    left = (width * WIDTH + 2 * MARGIN + LABEL_WIDTH) / WIDTH
    screen = figure.add_axes((MARGIN / WIDTH, bottom, width, top - bottom))
    screen.axis("off")
    return screen, figure.add_axes((left, bottom, 1 - left - 1.5 * MARGIN / WIDTH, top - bottom))


def _draw_moment(drawn: Canvas, curve: RewardCurve, frame: Frame, moment: float) -> None:
    times, values = grown(curve, moment)
    drawn.picture.set_data(frame)
    drawn.cursor.set_xdata([moment, moment])
    for line, line_values in zip(drawn.lines, values, strict=True):
        line.set_data(times, line_values)
    for artist in (drawn.picture, drawn.cursor, *drawn.lines):
        drawn.canvas.figure.draw_artist(artist)
