"""What all figures of runs share: their jobs are run or continued, scored, tabulated, drawn and judged."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.plan import Job, Plan
from experiments.recordings import Recording, record
from experiments.results import Results
from experiments.runs import claim_each, finish_run
from experiments.scales import Options, choose_scale
from experiments.scores import keep_scores
from experiments.tables import write_tables
from experiments.verdicts import Verdict, withheld
from rcjax.envs.kitchen.scene import asset_path
from rcjax.envs.registry import KITCHEN

FEWEST_SEEDS = 5  # from which claims are judged


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of the paper.

    Args:
        name: The name of its folder.
        title: What it shows.
        jobs: Returns the settings, in an order in which those that others begin from come first.
        draw: Draws figure.png from the results.
        judge: Returns the verdicts on the paper's claims that the figure tests.
        recordings: Returns the demonstrations that have to be recorded before.
    """

    name: str
    title: str
    jobs: Callable[[Plan], Sequence[Job]]
    draw: Callable[[Results, Path], None]
    judge: Callable[[Results], Sequence[Verdict]]
    recordings: Callable[[Plan], Sequence[Recording]] = lambda plan: ()


def make_plan(options: Options) -> Plan:
    """Returns the plan of the options. Raises ValueError for options that cannot be."""
    return Plan(choose_scale(options), options.out / options.scale)


def require_scenes(jobs: Sequence[Job]) -> None:
    """Raises ValueError if the package that the Kitchen's scene comes from is needed and not installed."""
    if any(job.task in KITCHEN for job in jobs):
        asset_path()


def make(figure: Figure, options: Options) -> None:
    """Runs what is not finished yet, and writes table.md, table.json and figure.png into the figure's folder.

    They are written after every new run, with what is known by then, and once if no run is new. Other processes may
    make the same figure, or one with the same runs, at the same time.
    """
    plan = make_plan(options)
    jobs = tuple(figure.jobs(plan))
    require_scenes(jobs)
    results = Results(plan, jobs)
    for recording in figure.recordings(plan):
        record(recording, plan.scale.base)
    any_new = False
    for name, config in claim_each([run for job in jobs for run in job.runs()], plan.runs, figure.name):
        if keep_scores(finish_run(config, plan.runs / name, options.devices)):
            write(figure, results)
            any_new = True
    if not any_new:
        write(figure, results)


def write(figure: Figure, results: Results) -> None:
    """Writes the tables and the picture of what is finished."""
    folder, scale = results.plan.folder / figure.name, results.plan.scale
    verdicts = figure.judge(results)
    if scale.name == "smoke":
        verdicts = [withheld(verdict, "a few episodes tell nothing") for verdict in verdicts]
    elif scale.base.seeds < FEWEST_SEEDS:
        verdicts = [withheld(verdict, f"fewer than {FEWEST_SEEDS} seeds") for verdict in verdicts]
    write_tables(results, verdicts, figure.title, folder)
    figure.draw(results, folder / "figure.png")
