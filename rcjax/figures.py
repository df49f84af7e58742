"""The learning curve of a run, as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from rcjax.files import write_atomically
from rcjax.statistics import interquartile_mean, stratified_bootstrap

PANELS = {
    "video_reward": "video reward (all the policy learns from)",
    "true_return": "true return (dense reward, never learned from)",
    "success_rate": "success rate",
}
BAND_POINTS = 200  # along a curve at which its band is computed
Row = dict[str, float]


def learning_curve(rows: list[Row], path: Path, title: str) -> None:
    """Video reward, true return and success rate over environment steps; evaluations of the policy's mean as dots.

    Of several seeds: the interquartile mean, its 95 % bootstrap interval as a band, and each seed as a thin line.
    """
    figure, axes = plt.subplots(1, len(PANELS), figsize=(15, 4.2), layout="constrained")
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        _plot_seeds(axis, rows, name, "C0", "-", "training episodes")
        _plot_seeds(axis, [row for row in rows if f"eval_{name}" in row], f"eval_{name}", "C1", "o--",
                    "evaluation, policy's mean")  # fmt: skip
        axis.set(xlabel="environment steps", title=label)
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.grid(alpha=0.3)
    axes[-1].set_ylim(-0.03, 1.03)
    axes[0].legend()
    several = len({row["seed"] for row in rows}) > 1
    shown = title + "; interquartile mean and its 95 % interval" * several
    figure.suptitle(shown, parse_math=False)  # a dollar in a sentence or a file's name begins no formula
    write_atomically(path, lambda part: figure.savefig(part, dpi=110, format="png"))
    plt.close(figure)


def _plot_seeds(axis: Axes, rows: list[Row], name: str, colour: str, style: str, label: str) -> None:
    steps, values = by_seed(rows, name)
    if not len(steps):
        return
    if len(values) > 1:
        some = np.unique(np.linspace(0, len(steps) - 1, BAND_POINTS).astype(int))
        axis.fill_between(steps[some], *stratified_bootstrap(values[None][:, :, some]), color=colour, alpha=0.25, lw=0)
        axis.plot(steps, values.T, color=colour, linewidth=0.4, alpha=0.4)
    axis.plot(steps, interquartile_mean(values), style, color=colour, linewidth=1.5, markersize=5, label=label)


def by_seed(rows: list[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps [I] and the metric of each seed [S I]; iterations that not all seeds have are left out."""
    seeds = sorted({row["seed"] for row in rows})
    curves = [{row["env_steps"]: row[name] for row in rows if row["seed"] == seed} for seed in seeds]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    values = [[np.nan if curve[step] is None else curve[step] for step in steps] for curve in curves]
    return np.array(steps, float), np.array(values, float)
