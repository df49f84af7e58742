"""`python -m experiments.rewards` learns tasks from each of the rewards that the paper compares, and finetunes.

The tasks are those of the paper's figure 3. For each of them it trains policies from RoboCLIP's reward (by the task's
sentence, and by the expert's video), from the dense reward, by GAIL and by AIRL, of several seeds in one program; those
from the sentence, of GAIL and of AIRL are then finetuned on the dense reward, as the release does it and soundly. The
encoder is the bundled one, which is no evidence about the paper's. Finished runs are not run again; interrupted ones go
on.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments.entry import run
from experiments.runs import finish_run, is_finished
from rcjax.config import EXPERT, TaskSpec, TrainConfig, Which, demo, finetuning
from rcjax.envs import canonical_name
from rcjax.envs.registry import TASKS
from rcjax.evaluate import Evaluator
from rcjax.normalization import normalize_returns
from rcjax.statistics import interquartile_mean, stratified_bootstrap
from rcjax.storage import RunFolder

FIGURE_3 = ("drawer-close", "door-close", "button-press")
PRETRAINED = ("text", "video", "dense", "gail", "airl")
FINETUNED = ("text", "gail", "airl")
KINDS = ("release", "sound")
SELECTED: tuple[Which, ...] = ("last", "best", "reward", "plateau")


@dataclasses.dataclass(frozen=True)
class Command:
    """Train policies from every reward, finetune some of them, and write a table of success and returns."""

    # Folder of the runs and of the table.
    out: Path = Path("runs/rewards")
    # Tasks to learn.
    tasks: tuple[str, ...] = FIGURE_3
    # Number of policies of each setting, from the seeds 0, 1, ...
    seeds: int = 5
    # Number of environments of each seed.
    n_envs: int = 32
    # Number of iterations from each reward.
    iterations: int = 60
    # Number of iterations of finetuning.
    finetuning_iterations: int = 20


@dataclasses.dataclass(frozen=True)
class Job:
    """A run: the task, and the reward that is learned from, which may be followed by a way of finetuning."""

    task: str
    method: str
    finetune: str | None = None

    @property
    def name(self) -> str:
        return f"{self.task}-{self.method}" + ("" if self.finetune is None else f"-{self.finetune}")


def jobs(tasks: Sequence[str]) -> Iterator[Job]:
    """Yields the runs in their order, those that others are finetuned from before these.

    Raises ValueError for a name that is no task.
    """
    for task in map(canonical_name, tasks):
        yield from (Job(task, method) for method in PRETRAINED)
        yield from (Job(task, method, kind) for method in FINETUNED for kind in KINDS)


def pretraining_config(command: Command, job: Job) -> TrainConfig:
    """Returns the demo preset with the job's task and reward."""
    base, by_text = demo(), job.method == "text"
    return dataclasses.replace(
        base,
        reward="video" if job.method in ("text", "video") else job.method,
        seeds=command.seeds,
        n_envs=command.n_envs,
        total_env_steps=command.iterations * command.n_envs * base.video.episode_length,
        eval_every=5,
        spec=TaskSpec(text=(TASKS[job.task].prompt,)) if by_text else TaskSpec(video=(EXPERT,)),
        env=dataclasses.replace(base.env, task=job.task),
    )


def job_config(command: Command, job: Job) -> TrainConfig:
    """Returns the config of a run; what is finetuned begins from the last policies of the pretrained run."""
    config = pretraining_config(command, job)
    if job.finetune is None:
        return config
    pretrained = (command.out / Job(job.task, job.method).name).absolute()
    config = finetuning(config, str(pretrained), job.finetune)
    steps = command.finetuning_iterations * config.steps_per_iteration
    return dataclasses.replace(config, reward="dense", total_env_steps=steps, eval_every=1)


def run_all(command: Command) -> None:
    for job in tqdm(list(jobs(command.tasks)), desc="runs"):
        path = command.out / job.name
        if not is_finished(path):
            finish_run(job_config(command, job), path)
        if not (path / "scores.json").exists():
            scores = score(RunFolder.open(path), SELECTED)
            (path / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
            write_table(command)


def score(run: RunFolder, selected: Sequence[Which]) -> dict[str, dict[str, list[float]]]:
    """Returns success, true return and normalised return of each seed on the test starts, for each way to select."""
    evaluator = Evaluator(run)
    scores = {}
    for which in selected:
        rows = evaluator.evaluate(which).rows
        returns = np.array([row["eval_true_return"] for row in rows])
        scores[which] = {
            "success_rate": [row["eval_success_rate"] for row in rows],
            "true_return": returns.tolist(),
            "normalized_return": normalize_returns(returns, evaluator.program.world, run.config).tolist(),
        }
    return scores


def rows(command: Command) -> Iterator[dict[str, Any]]:
    """Yields the scores of each finished run."""
    for job in jobs(command.tasks):
        path = command.out / job.name / "scores.json"
        if path.exists():
            yield {"task": job.task, "method": job.method, "finetune": job.finetune, **json.loads(path.read_text())}


def write_table(command: Command) -> None:
    """Writes table.json and table.md in the folder of the runs."""
    table = list(rows(command))
    (command.out / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    (command.out / "table.md").write_text(as_markdown(table))


def as_markdown(table: Sequence[dict[str, Any]]) -> str:
    """Returns the table: interquartile means over the seeds and their 95 % intervals, on the test starts."""
    lines = [
        "| task | learned from | finetuned on the dense reward | success, last policy | return | normalised return | "
        "success: best by true return | by reward | by plateau |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in table:
        last = [_with_interval(row["last"][name]) for name in ("success_rate", "true_return", "normalized_return")]
        others = [_with_interval(row[which]["success_rate"]) for which in SELECTED[1:]]
        cells = [row["task"], row["method"], row["finetune"] or "", *last, *others]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _with_interval(values: Sequence[float]) -> str:
    scores = np.array(values)
    low, high = stratified_bootstrap(scores[None])
    return f"{interquartile_mean(scores):.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    sys.exit(run("rewards", Command, run_all, __doc__))
