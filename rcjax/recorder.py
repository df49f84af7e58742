"""Records each iteration: metrics on disk, and a progress bar."""

import time

from tqdm import tqdm

from rcjax.devices import is_first_process
from rcjax.program import Row, Rows
from rcjax.statistics import interquartile_mean_row
from rcjax.storage import MetricsWriter, RunFolder


class Recorder:
    """Writes the metrics of each iteration and shows its progress. Only the first of several processes does so."""

    def __init__(self, run: RunFolder, iteration: int):
        """Continues after `iteration`, or begins if that is 0."""
        self.config, self.begun = run.config, time.perf_counter()
        self.metrics = MetricsWriter(run, iteration) if is_first_process() else None
        steps = self.config.steps_per_iteration * self.config.seeds
        self.bar = tqdm(
            total=self.config.n_iterations * steps, initial=iteration * steps, unit="step", unit_scale=True,
            disable=not is_first_process(),
        )  # fmt: skip

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
            f"{row['env_steps']:>10,.0f} steps   {reward} reward {row[metric]:8.4g}   "
            f"true return {row['true_return']:7.1f}   success {row['success_rate']:4.0%}   |   policy's mean: "
            f"{reward} reward {row[f'eval_{metric}']:8.4g}   true return {row['eval_true_return']:7.1f}   "
            f"success {row['eval_success_rate']:4.0%}"
        )
