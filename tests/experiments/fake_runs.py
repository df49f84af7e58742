"""Run folders of a figure's jobs with invented results, for tests of everything that reads them."""

import json
from collections.abc import Iterable, Mapping

import numpy as np

from experiments.plan import Job, Plan
from experiments.scores import METRICS, SELECTED
from rcjax.config import to_json
from rcjax.video_io import write_video


def invent(plan: Plan, jobs: Iterable[Job], scores: Mapping[str, float]) -> None:
    """Makes the jobs' run folders.

    The scores of a job's last policies are around `scores[name]` (0 by default), and those of its other policies 0.1
    higher. Evaluations rise to that from 0, or from the score of the job that was finetuned.
    """
    for job in jobs:
        for name, config in job.runs():
            folder = plan.runs / name
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(to_json(config))
            last, seeds = scores.get(job.name, 0.0), np.arange(config.seeds)
            begin = scores.get(str(config.init_from).rpartition("/")[2], 0.0)
            with (folder / "metrics.jsonl").open("w") as file:
                for iteration in range(0 if config.init_from else 1, config.n_iterations + 1):
                    share = iteration / config.n_iterations
                    for seed in seeds:
                        value = begin + share * (last - begin) + 0.01 * seed
                        row = {"iteration": iteration, "env_steps": iteration * config.steps_per_iteration}
                        row |= {"seed": config.seed + int(seed), "true_return": value, "success_rate": value}
                        row |= {"eval_true_return": value, "eval_success_rate": value, "seconds": 60.0}
                        file.write(json.dumps(row) + "\n")
            rules = SELECTED[:2] if config.reward == "bc" else SELECTED
            policies = {rule: _scores(last + 0.1 * (rule != "last"), seeds) for rule in rules}
            values = {"policies": policies, "untrained": _scores(0.0, seeds), "training_s": 120.0}
            values |= {"encoder": "0123abcd" if config.encoder == "small" else f"of {name}"}
            values |= {"replay": _scores(0.3, seeds[:1]), "device": "a device", "versions": {"jax": "1"}}
            (folder / "scores.json").write_text(json.dumps(values))
            write_video(folder / "policy.mp4", np.zeros((4, 16, 32, 3), np.uint8), fps=10)


def _scores(value: float, seeds: np.ndarray) -> dict[str, list[float]]:
    return {metric: (value + 0.01 * seeds).tolist() for metric in METRICS}
