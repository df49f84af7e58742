"""The pictures of figures: returns over finetuning steps, bars of scores, and rows of frames."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from experiments.plan import Finetuning, Job, Plan
from experiments.results import Results
from rcjax.files import write_atomically
from rcjax.statistics import interquartile_mean, stratified_bootstrap
from rcjax.video_io import read_video

N_FRAMES = 4  # frames of a video in a row of pictures


@dataclasses.dataclass(frozen=True)
class Panel:
    """Curves of true returns that share their axes: each a job, by its name in the legend."""

    title: str
    lines: dict[str, Job]
    max_steps: float = np.inf  # environment steps up to which curves are shown


def finetuning_panel(plan: Plan, title: str, pretrained: Sequence[Job], kind: Finetuning) -> Panel:
    """Returns the curves of these policies while they are finetuned, and of as many steps of the dense reward alone."""
    lines = {job.label: plan.finetuned(job, kind) for job in pretrained}
    n_steps = next(iter(lines.values())).configs[0].total_env_steps
    task = pretrained[0].task
    from_scratch = plan.from_reward(task, "dense") if kind == "release" else plan.from_scaled_dense(task)
    lines[f"{from_scratch.label}, from scratch"] = from_scratch
    return Panel(title, lines, n_steps)


@dataclasses.dataclass(frozen=True)
class Bars:
    """Bars of a score: each a job and which of its policies, by its name below the bar."""

    title: str
    bars: dict[str, tuple[Job, str]]


def curves_figure(results: Results, rows: Sequence[Sequence[Panel]], path: Path, title: str) -> None:
    """Draws rows of panels: interquartile means over the seeds, and their 95 % intervals as bands."""
    n_columns = max(map(len, rows))
    size = 4.6 * n_columns, 3.6 * len(rows) + 0.6
    figure, axes = plt.subplots(len(rows), n_columns, figsize=size, layout="constrained", squeeze=False)
    for row, row_axes in zip(rows, axes, strict=True):
        for panel, axis in zip(row, row_axes, strict=False):
            draw_panel(axis, results, panel)
    save_figure(figure, path, title)


def draw_panel(axis: Axes, results: Results, panel: Panel) -> None:
    """Draws a panel's curves into `axis`; jobs without evaluations so far are left out."""
    for i, (label, job) in enumerate(panel.lines.items()):
        steps, values = results.curve(job)
        shown = steps <= panel.max_steps
        if not shown.any():
            continue
        steps, values = steps[shown], values[:, shown]
        low, high = stratified_bootstrap(values[None])
        axis.fill_between(steps, low, high, color=f"C{i}", alpha=0.2, lw=0)
        axis.plot(steps, interquartile_mean(values), "o-", color=f"C{i}", label=label, linewidth=1.5, markersize=3)
    axis.set_title(panel.title, parse_math=False)
    axis.set(xlabel="environment steps of each seed", ylabel="true return")
    axis.xaxis.set_major_formatter(EngFormatter())
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend(fontsize=8)


def bars_figure(results: Results, groups: Sequence[Bars], path: Path, title: str, metric: str, label: str) -> None:
    """Draws a panel of bars for each group: interquartile means with 95 % intervals, and a dot for each seed."""
    size = max(5.0, 1.15 * max(len(group.bars) for group in groups)) * len(groups), 4.4
    figure, axes = plt.subplots(1, len(groups), figsize=size, layout="constrained", squeeze=False)
    for group, axis in zip(groups, axes[0], strict=True):
        for i, (job, policy) in enumerate(group.bars.values()):
            _draw_bar(axis, i, results.scores(job, policy, metric))
        axis.set_xticks(range(len(group.bars)), list(group.bars), rotation=25, ha="right", parse_math=False)
        axis.set(title=group.title, ylabel=label)
        axis.grid(alpha=0.3, axis="y")
    save_figure(figure, path, title)


def _draw_bar(axis: Axes, place: int, scores: np.ndarray | None) -> None:
    if scores is None or not np.isfinite(scores).all():
        axis.text(place, 0, "no result", ha="center", va="bottom", fontsize=8)
        return
    low, high = stratified_bootstrap(scores[None])
    mean = interquartile_mean(scores)
    axis.bar(place, mean, color=f"C{place}", alpha=0.6)
    axis.plot([place, place], [low, high], "_-", color="black", markersize=12)
    axis.plot(np.full(len(scores), place), scores, ".", color="black", markersize=5)


def policy_video(results: Results, job: Job) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the frames of the demonstration and of the policy in the video of a job's first finished run.

    They are the left and the right half of that video. None if no finished run has one.
    """
    videos = [path for run in results.runs(job) if (path := run.path / "policy.mp4").exists()]
    if not videos:
        return None
    frames = read_video(videos[0])
    half = frames.shape[2] // 2
    return frames[:, :, :half], frames[:, :, half:]


def draw_frames(axes: Sequence[Axes], frames: np.ndarray, label: str) -> None:
    """Draws evenly spaced frames of a video [F H W 3] into `axes`, and the label beside the first one."""
    picked = np.linspace(0, len(frames) - 1, len(axes)).round().astype(int)
    for axis, i in zip(axes, picked, strict=True):
        axis.imshow(frames[i])
        axis.set_xticks([])
        axis.set_yticks([])
    axes[0].set_ylabel(label, fontsize=8)


def save_figure(figure: Figure, path: Path, title: str) -> None:
    """Writes the figure as PNG, and closes it."""
    figure.suptitle(title, parse_math=False)
    write_atomically(path, lambda part: figure.savefig(part, dpi=100, format="png"))
    plt.close(figure)
