"""`python -m experiments.guidance` measures whether an encoder's reward guides policies, over tasks and seeds.

The runs are ordinary run folders of the demo preset. Finished runs are not run again, and interrupted ones go on.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.entry import run
from experiments.runs import claim_each, finish_run, last_rows, require_same_config
from rcjax.checks import require_range
from rcjax.config import EXPERT, TaskSpec, TrainConfig, demo
from rcjax.encoders import RANDOM, SMALL
from rcjax.envs.registry import PAPER_TASKS, TASKS
from rcjax.files import write_atomically

MANY_SEEDS = range(10)  # of the default run
FEW_SEEDS = range(3)
ITERATIONS = 60  # of the demo preset


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

    def runs(self, iterations: int = ITERATIONS) -> Iterator[tuple[str, TrainConfig]]:
        """Yields the names and the configs of the runs, which have this many iterations.

        All seeds share a run, except with the random encoder, whose weights are drawn anew for each seed.
        """
        if self.encoder == RANDOM:
            yield from ((f"{self.name}-{seed}", self._config(range(seed, seed + 1), iterations)) for seed in self.seeds)
        else:
            yield self.name, self._config(self.seeds, iterations)

    def _config(self, seeds: range, iterations: int) -> TrainConfig:
        base, text = demo(), self.demonstration == "text"
        return dataclasses.replace(
            base,
            total_env_steps=iterations * base.n_envs * base.video.episode_length,
            seed=seeds.start,
            seeds=len(seeds),
            encoder=self.encoder,
            encoder_seed=seeds.start,
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
    # Number of iterations of each run. Runs of another length need another folder.
    iterations: int = ITERATIONS


def run_all(command: Command) -> None:
    require_range("--iterations", command.iterations, 1)
    chosen = [s for s in settings() if not command.only or any(part in s.name for part in command.only)]
    if not chosen:
        names = ", ".join(setting.name for setting in settings())
        raise ValueError(f"--only {' '.join(command.only)}: no setting has it in its name; there are {names}.")
    jobs = [job for setting in chosen for job in setting.runs(command.iterations)]
    for name, config in jobs:
        if (command.out / name).exists():
            require_same_config(config, command.out / name)
    for name, config in claim_each(jobs, command.out, "runs"):
        if last_rows(command.out / name) is None:
            finish_run(config, command.out / name)
            write_table(command.out)
    write_table(command.out)


def rows(out: Path) -> Iterator[dict[str, object]]:
    """Yields each setting with the success rates of its finished seeds."""
    for setting in settings():
        finished = [row for name, _ in setting.runs() for row in last_rows(out / name) or ()]
        if finished:
            values = {"task": setting.task, "demonstration": setting.demonstration, "encoder": setting.encoder}
            success = {str(int(row["seed"])): row["eval_success_rate"] for row in finished}
            yield {**values, "success": success, "seeds_planned": len(setting.seeds)}


def write_table(out: Path) -> None:
    """Writes table.json and table.md in the folder of the runs."""
    table = list(rows(out))
    write_atomically(out / "table.json", lambda part: part.write_text(json.dumps(table, indent=1) + "\n"))
    write_atomically(out / "table.md", lambda part: part.write_text(as_markdown(table)))


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
