"""The figure of a reward curve: the curve above the video's frames (PNG), or beside the playing video (GIF, MP4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rcjax.config import TaskSpec
from rcjax.curve_animation import animate_curve
from rcjax.curve_axes import add_texts, label_demonstrations, legend_height, plot_lines, shrink, time_label
from rcjax.files import write_atomically
from rcjax.prefixes import Video
from rcjax.reward_curve import RewardCurve
from rcjax.video_io import frame_indices_in_time

WIDTH, CURVE_HEIGHT, STRIP_HEIGHT = 10.0, 4.4, 1.5  # inches
DPI = 110
MIN_SHOWN, MAX_SHOWN = 4, 16  # frames under the curve
MARKED_POINTS = 40  # up to which the points of a line have markers


def write_curve(path: Path, curve: RewardCurve, video: Video, specs: Sequence[TaskSpec], title: str) -> None:
    """Writes a picture if the path ends in .png, and otherwise an animation, as .gif or .mp4."""
    draw = draw_curve if path.suffix.lower() == ".png" else animate_curve
    draw(path, curve, video, specs, title)


def draw_curve(path: Path, curve: RewardCurve, video: Video, specs: Sequence[TaskSpec], title: str) -> None:
    """Writes a PNG file with the curve of each demonstration, and below it the video's frames at their times."""
    labels = label_demonstrations(specs)
    size = (WIDTH, CURVE_HEIGHT + STRIP_HEIGHT + legend_height(labels))
    figure = Figure(figsize=size, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axis, strip = figure.subplots(2, 1, sharex=True, height_ratios=(CURVE_HEIGHT, STRIP_HEIGHT))
    lines = plot_lines(axis, curve, marker="o" if len(curve.times) <= MARKED_POINTS else "")
    strip.set(xlabel=time_label(curve), yticks=[])
    strip.spines[["left", "right", "top"]].set_visible(False)
    add_texts(figure, lines, labels, curve, title)
    canvas.draw()  # lays the axes out, so that the width of the strip is known
    _draw_strip(strip, video)
    write_atomically(path, lambda part: figure.savefig(part, dpi=DPI, format="png"))


def _draw_strip(strip: Axes, video: Video) -> None:
    """Draws frames side by side, each centred at the time at which the video shows it."""
    box = strip.get_window_extent()
    (first,) = video.read([0], lambda frame: frame).values()
    frame_width = box.height * first.shape[1] / first.shape[0]
    n_shown = min(int(np.clip(box.width // (frame_width + 4), MIN_SHOWN, MAX_SHOWN)), video.n_frames)
    indices = frame_indices_in_time(video.timeline, 2 * n_shown)[1::2].tolist()
    frames = video.read(set(indices), lambda frame: shrink(frame, int(2 * box.height)))
    for i, index in enumerate(indices):
        place = strip.inset_axes((i / n_shown, 0.03, 1 / n_shown, 0.97))
        place.imshow(frames[index], aspect="equal")
        place.axis("off")
