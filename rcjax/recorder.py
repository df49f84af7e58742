"""Records each iteration: metrics on disk, and a progress bar."""

import math
import time

from tqdm import tqdm

from rcjax.devices import is_first_process
from rcjax.program import Row, Rows
from rcjax.statistics import interquartile_mean_row
from rcjax.storage import MetricsWriter, RunFolder


class Recorder:
    """Writes the metrics of each iteration and shows its progress. Only the first of several processes does so."""

    def __init__(self, run: RunFolder, restored: int | None):
        """Continues after the iteration of the checkpoint that was restored; None begins anew."""
        self.config, self.begun = run.config, time.perf_counter()
        iteration = restored or 0
        self.metrics = MetricsWriter(run, -1 if restored is None else iteration) if is_first_process() else None
        steps = self.config.steps_per_iteration * self.config.seeds
        self.bar = tqdm(
            total=self.config.n_iterations * steps, initial=iteration * steps, unit="step", unit_scale=True,
            disable=not is_first_process(),
        )  # fmt: skip

    def write_beginning(self, rows: Rows) -> None:
        """Records an evaluation before the first iteration as iteration 0, whose other metrics are null."""
        unknown = dict.fromkeys((self.config.reward_metric, "true_return", "success_rate"), math.nan)
        common = {"iteration": 0, "env_steps": 0} | unknown
        if self.metrics is not None:
            self.metrics.write([common | {"seed": self.config.seed + i} | row for i, row in enumerate(rows)])
            row = interquartile_mean_row(rows)
            self.bar.write(f"before training: {describe_episodes(row, self.config.reward, 'eval_')}")

    def write(self, iteration: int, rows: Rows) -> None:
        """Records the iteration, of which every seed has one row."""
        now, config = time.perf_counter(), self.config
        common = {"iteration": iteration, "env_steps": iteration * config.steps_per_iteration}
        seconds, self.begun = {"seconds": now - self.begun}, now
        rows = [common | {"seed": config.seed + i} | row | seconds for i, row in enumerate(rows)]
        if self.metrics is not None:
            self.metrics.write(rows)
            diverged = {"diverged_physics": sum(row["diverged_physics"] for row in rows)}
            steps = config.steps_per_iteration * config.seeds
            show_progress(self.bar, interquartile_mean_row(rows) | diverged, steps, config.reward)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
        if self.metrics is not None:
            self.metrics.close()


def show_progress(bar: tqdm, row: Row, steps: int, reward: str) -> None:
    """Moves the bar by `steps`, shows the row's metrics beside it, and prints a line where there was an evaluation.

    `reward` is the name of the reward that is learned from.
    """
    metric = f"{reward}_reward"
    shown = {"reward": metric, "return": "true_return", "success": "success_rate"}
    if row["diverged_physics"]:
        shown["diverged steps"] = "diverged_physics"
    bar.set_postfix({label: f"{row[name]:.3g}" for label, name in shown.items()}, refresh=False)
    bar.update(steps)
    if "eval_success_rate" in row:
        bar.write(
            f"{row['env_steps']:>10,.0f} steps   {describe_episodes(row, reward)}   |   policy's mean: "
            f"{describe_episodes(row, reward, 'eval_')}"
        )


def describe_episodes(row: Row, reward: str, prefix: str = "") -> str:
    """Returns the reward, return and success of training episodes, or of an evaluation (`prefix` "eval_")."""
    return (
        f"{reward} reward {row[f'{prefix}{reward}_reward']:8.4g}   true return {row[f'{prefix}true_return']:7.1f}   "
        f"success {row[f'{prefix}success_rate']:4.0%}"
    )
