"""The learning curve of a run, as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter

from rcjax.files import write_atomically

PANELS = {
    "video_reward": "video reward (all the policy learns from)",
    "true_return": "true return (dense reward, never learned from)",
    "success_rate": "success rate",
}


def learning_curve(rows: list[dict[str, float]], path: Path, title: str) -> None:
    """Video reward, true return and success rate over environment steps; evaluations of the policy's mean as dots."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(15, 4.2), layout="constrained")
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        axis.plot(
            [row["env_steps"] for row in rows],
            [row[name] for row in rows],
            linewidth=1.5,
            label="training episodes",
        )
        evaluated = [row for row in rows if f"eval_{name}" in row]
        axis.plot(
            [row["env_steps"] for row in evaluated],
            [row[f"eval_{name}"] for row in evaluated],
            "o--", markersize=5, label="evaluation, policy's mean",
        )  # fmt: skip
        axis.set(xlabel="environment steps", title=label)
        axis.xaxis.set_major_formatter(EngFormatter())
        axis.grid(alpha=0.3)
    axes[-1].set_ylim(-0.03, 1.03)
    axes[0].legend()
    figure.suptitle(title)
    write_atomically(path, lambda part: figure.savefig(part, dpi=110, format="png"))
    plt.close(figure)
