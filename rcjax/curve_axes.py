"""What the picture and the animation of a reward curve share: lines, labels, legend, title and smaller frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from rcjax.config import TaskSpec, Term
from rcjax.messages import one_line
from rcjax.ranking import best_first
from rcjax.reward_curve import RewardCurve
from rcjax.taskspec import describe_terms
from rcjax.video_io import Frame

MAX_LABEL = 90  # characters of a demonstration in the legend
TWO_COLUMNS = 45  # characters up to which labels fit beside each other
LINE_STYLES = ("-", "--", ":", "-.")  # of the first ten demonstrations, the next ten, ...


def plot_lines(axis: Axes, curve: RewardCurve, **style: Any) -> list[Line2D]:
    """Draws a line for each demonstration, and returns the lines."""
    lines = []
    for i, values in enumerate(curve.values):
        styles: dict[str, Any] = {"color": f"C{i % 10}", "linestyle": LINE_STYLES[i // 10 % len(LINE_STYLES)], **style}
        lines += axis.plot(curve.times, values, linewidth=1.8, markersize=3.5, clip_on=False, zorder=3, **styles)
    axis.set(xlim=(0, curve.times[-1]), ylabel="similarity (reward up to here)")
    axis.margins(y=0.08)
    axis.grid(alpha=0.3)
    axis.spines[["right", "top"]].set_visible(False)
    return lines


def time_label(curve: RewardCurve) -> str:
    """Returns the label of the time axis."""
    return "time (s)" if curve.is_timed else "frames"


def label_demonstrations(specs: Sequence[TaskSpec]) -> list[str]:
    """Returns a short name for each demonstration: the sentence, or the name of the file.

    Files of the same name in different folders are named by their paths.
    """
    videos = {term.source for spec in specs for term in spec.terms if term.kind == "video"}
    names = [Path(video).name for video in videos]
    return [describe_terms(spec.terms, lambda term: _label(term, names), spec.combine) for spec in specs]


def _label(term: Term, names: Sequence[str]) -> str:
    if term.kind == "text":
        return f"“{one_line(term.source, MAX_LABEL)}”"
    name = Path(term.source).name
    return one_line(term.source if names.count(name) > 1 else name, MAX_LABEL)


def legend_height(labels: Sequence[str]) -> float:
    """Returns the height of the legend, in inches."""
    return 0.1 + 0.22 * -(-len(labels) // _n_columns(labels))


def _n_columns(labels: Sequence[str]) -> int:
    return 2 if len(labels) > 1 and max(map(len, labels)) <= TWO_COLUMNS else 1


def add_texts(
    figure: Figure,
    lines: Sequence[Line2D],
    labels: Sequence[str],
    curve: RewardCurve,
    title: str,
    legend_place: Literal["outside lower center", "lower center"] = "outside lower center",
) -> None:
    """Adds the title, and a legend in which the demonstration that is most similar to the whole video comes first."""
    order = best_first(curve.values[:, -1])
    handles, place_holders = [lines[i] for i in order], ["." for _ in order]
    legend = figure.legend(handles, place_holders, loc=legend_place, ncols=_n_columns(labels), frameon=False)
    for i, text in zip(order, legend.get_texts(), strict=True):
        text.set_parse_math(False)  # a dollar sign does not start a formula
        text.set_text(f"{curve.values[i, -1]:.4g}  {labels[i]}")
    figure.suptitle(title, parse_math=False, fontsize="medium")


def shrink(frame: Frame, max_height: int) -> Frame:
    """Returns the frame, no higher than `max_height` pixels, and no wider than three times as much."""
    picture = Image.fromarray(frame)
    picture.thumbnail((3 * max_height, max_height), Image.Resampling.LANCZOS)
    return np.asarray(picture)
