"""The results of a figure's jobs: scores of all seeds, and curves, read from run folders and nothing else."""

import dataclasses
import json
from typing import Any

import numpy as np
from jaxtyping import Float

from experiments.plan import Job, Plan
from experiments.runs import is_finished
from experiments.scores import all_seeds
from rcjax.figures import curves_by_seed
from rcjax.storage import RunFolder, read_metrics


@dataclasses.dataclass(frozen=True)
class Results:
    """What the jobs have led to so far."""

    plan: Plan
    jobs: tuple[Job, ...]

    def runs(self, job: Job) -> list[RunFolder]:
        """Returns the job's runs that are finished."""
        paths = [self.plan.runs / name for name, _ in job.runs()]
        return [RunFolder.open(path) for path in paths if is_finished(path)]

    def scores(
        self, job: Job, policy: str = "last", metric: str = "normalized_return"
    ) -> Float[np.ndarray, " S"] | None:
        """Returns a metric of all seeds of a job, or None before all of its runs are scored; see `scores.all_seeds`."""
        return all_seeds([self.plan.runs / name for name, _ in job.runs()], policy, metric)

    def about(self, job: Job) -> dict[str, Any]:
        """Returns the seconds of training of all runs of a job, their device and the versions of packages.

        `encoders` has the fingerprints of the weights of the figure's encoder, where a run has it.
        """
        files = [self.plan.runs / name / "scores.json" for name, _ in job.runs()]
        scores = [json.loads(file.read_text()) for file in files]
        seconds = sum(score["training_s"] for score in scores)
        usual = self.plan.scale.base.encoder
        encoders = sorted(
            {
                score["encoder"]
                for score, (_, config) in zip(scores, job.runs(), strict=True)
                if config.encoder == usual and "encoder" in score
            }
        )
        about = {"training_s": seconds, "device": scores[0]["device"], "versions": scores[0]["versions"]}
        return about | {"encoders": encoders}

    def curve(
        self, job: Job, metric: str = "eval_true_return"
    ) -> tuple[Float[np.ndarray, " I"], Float[np.ndarray, "S I"]]:
        """Returns a metric of all seeds of a job over environment steps, where it was evaluated."""
        rows = [row for run in self.runs(job) for row in read_metrics(run) if metric in row]
        return curves_by_seed(rows, metric)

    def by_task(self) -> dict[str, list[Job]]:
        """Returns the jobs of each task, in their order."""
        tasks: dict[str, list[Job]] = {}
        for job in self.jobs:
            tasks.setdefault(job.task, []).append(job)
        return tasks
