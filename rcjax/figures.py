"""The plot of a run's learning curves."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from rcjax.files import write_atomically
from rcjax.statistics import interquartile_mean, stratified_bootstrap

BAND_POINTS = 200  # points of a curve at which its confidence band is computed
Row = dict[str, float]


def panels(reward: str) -> dict[str, str]:
    """Returns the metrics that are plotted and the titles of their panels, for a reward of this name."""
    trained_on = "trained on" if reward == "dense" else "never trained on"
    signal = {f"{reward}_reward": f"{reward} reward of an episode (the only training signal)"}
    if reward == "bc":
        signal = {"bc_loss": "loss of behaviour cloning"}
    return {
        **signal,
        "true_return": f"true return (dense reward, {trained_on})",
        "success_rate": "success rate",
    }


def learning_curve(rows: list[Row], path: Path, title: str, reward: str = "video") -> None:
    """Plots the reward, true return and success rate of episodes over environment steps as a PNG file.

    Evaluations of the policy's mean are dots. For several seeds the plot has the interquartile mean, its 95 % bootstrap
    interval as a band, and a thin line for each seed. `rows` are those of `read_metrics`, and `reward` is the name of
    the reward that the policy learned from.
    """
    shown = panels(reward)
    figure, axes = plt.subplots(1, len(shown), figsize=(15, 4.2), layout="constrained")
    for axis, (name, label) in zip(axes, shown.items(), strict=True):
        _plot_seeds(axis, [row for row in rows if name in row], name, "C0", "-", "training episodes")
        _plot_seeds(axis, [row for row in rows if f"eval_{name}" in row], f"eval_{name}", "C1", "o--",
                    "evaluation, policy's mean")  # fmt: skip
        axis.set(xlabel="environment steps", title=label)
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.grid(alpha=0.3)
    axes[-1].set_ylim(-0.03, 1.03)
    axes[0].legend()
    if len({row["seed"] for row in rows}) > 1:
        title += "; interquartile mean and its 95 % interval"
    figure.suptitle(title, parse_math=False)  # a dollar sign in a sentence or a file's name does not start a formula
    write_atomically(path, lambda part: figure.savefig(part, dpi=110, format="png"))
    plt.close(figure)


def _plot_seeds(axis: Axes, rows: list[Row], name: str, colour: str, style: str, label: str) -> None:
    steps, values = curves_by_seed(rows, name)
    if not len(steps):
        return
    if len(values) > 1:
        points = np.unique(np.linspace(0, len(steps) - 1, BAND_POINTS).astype(int))
        low, high = stratified_bootstrap(values[None][:, :, points])
        axis.fill_between(steps[points], low, high, color=colour, alpha=0.25, lw=0)
        axis.plot(steps, values.T, color=colour, linewidth=0.4, alpha=0.4)
    axis.plot(steps, interquartile_mean(values), style, color=colour, linewidth=1.5, markersize=5, label=label)


def curves_by_seed(rows: list[Row], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the environment steps [I] and the metric of each seed [S I], for the iterations that all seeds have."""
    seeds = sorted({row["seed"] for row in rows})
    curves = [{row["env_steps"]: row[name] for row in rows if row["seed"] == seed} for seed in seeds]
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    values = [[np.nan if curve[step] is None else curve[step] for step in steps] for curve in curves]
    return np.array(steps, float), np.array(values, float)
