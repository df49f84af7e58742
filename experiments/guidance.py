"""`python -m experiments.guidance` measures whether an encoder's reward guides policies, over tasks and seeds.

Every run is an ordinary run folder of the demo preset. Finished runs are not run again, and interrupted ones go on.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from experiments.entry import run
from experiments.runs import finish_run, is_finished, last_rows
from rcjax.config import EXPERT, TaskSpec, TrainConfig, VideoConfig, demo
from rcjax.encoders import RANDOM, SMALL
from rcjax.envs.registry import PAPER_TASKS, TASKS

MANY_SEEDS = range(10)  # of the default run
FEW_SEEDS = range(3)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One row of the table: a task, how it is specified, and the encoder."""

    task: str
    demonstration: str  # "text" or "video"
    encoder: str
    seeds: range

    @property
    def name(self) -> str:
        return f"{self.task}-{self.demonstration}-{self.encoder}"

    def config(self, seed: int) -> TrainConfig:
        """Returns the demo preset with this setting. The random encoder's weights are drawn anew for each seed."""
        base, text = demo(), self.demonstration == "text"
        return dataclasses.replace(
            base,
            seed=seed,
            encoder=self.encoder,
            encoder_seed=seed,
            video=VideoConfig(size=64, frame_stride=8),  # the clips that the bundled encoder takes
            eval_every=0,
            spec=TaskSpec(text=(TASKS[self.task].prompt,)) if text else TaskSpec(video=(EXPERT,)),
            env=dataclasses.replace(base.env, task=self.task),
        )


def settings() -> list[Setting]:
    """Returns the settings in the order in which they are run: the default one first."""
    default = Setting("drawer-close", "text", SMALL, MANY_SEEDS)
    others = (
        Setting(task, demonstration, encoder, FEW_SEEDS)
        for demonstration, encoder in (("text", SMALL), ("video", SMALL), ("video", RANDOM))
        for task in PAPER_TASKS
    )
    return [default, *(setting for setting in others if setting.name != default.name)]


@dataclasses.dataclass(frozen=True)
class Command:
    """Train policies from the encoder's reward alone, and write the success rates of their last evaluation."""

    # Folder of the runs and of the table.
    out: Path = Path("runs/guidance")
    # Only settings whose names contain one of these.
    only: tuple[str, ...] = ()


def run_all(command: Command) -> None:
    chosen = [s for s in settings() if not command.only or any(part in s.name for part in command.only)]
    jobs = [(setting, seed) for setting in chosen for seed in setting.seeds]
    for setting, seed in tqdm(jobs, desc="runs"):
        path = command.out / f"{setting.name}-{seed}"
        if not is_finished(path):
            finish_run(setting.config(seed), path)
            write_table(command.out)


def final_success(path: Path) -> float | None:
    """Returns the success rate of a run's last evaluation, or None if the run has not finished."""
    last = last_rows(path)
    return None if last is None else last[0]["eval_success_rate"]


def rows(out: Path) -> Iterator[dict[str, object]]:
    """Yields each setting with the success rates of its finished runs, by seed."""
    for setting in settings():
        rates = {seed: final_success(out / f"{setting.name}-{seed}") for seed in setting.seeds}
        finished = {str(seed): rate for seed, rate in rates.items() if rate is not None}
        if finished:
            values = {"task": setting.task, "demonstration": setting.demonstration, "encoder": setting.encoder}
            yield {**values, "success": finished, "runs_planned": len(setting.seeds)}


def write_table(out: Path) -> None:
    """Writes table.json and table.md in the folder of the runs."""
    table = list(rows(out))
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    (out / "table.md").write_text(as_markdown(table))


def as_markdown(table: Sequence[dict[str, object]]) -> str:
    """Returns the table: success rates over the 64 evaluation starts, a number for each seed in the order of seeds."""
    lines = ["| task | demonstration | encoder | success rate of each seed |", "| --- | --- | --- | --- |"]
    for row in table:
        success = row["success"]
        assert isinstance(success, dict)
        rates = " ".join(f"{rate:.0%}" for rate in success.values())
        lines.append(f"| {row['task']} | {row['demonstration']} | {row['encoder']} | {rates} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run("guidance", Command, run_all, __doc__))
