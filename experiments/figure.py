"""What all figures of runs share: their jobs are run or continued, scored, tabulated, drawn and judged."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.plan import Job, Plan
from experiments.recordings import Recording, record
from experiments.results import Results
from experiments.runs import claim_each, finish_run, require_same_config
from experiments.scales import Options, choose_scale
from experiments.scores import keep_scores, require_same_origin
from experiments.tables import write_tables
from experiments.verdicts import Verdict, withheld
from rcjax.encoders import load_encoder
from rcjax.envs.kitchen.scene import asset_path
from rcjax.envs.registry import KITCHEN
from rcjax.files import require_writable_folder
from rcjax.program import require_machine
from rcjax.stopping import Stopped

FEWEST_SEEDS = 5  # from which claims are judged
NOT_FINITE = 1  # the exit code of a run that ends with numbers that are not finite


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
    """Returns the plan of the options.

    Raises ValueError for options that cannot be, for more devices than there are, and for a folder that cannot be
    written.
    """
    plan = Plan(choose_scale(options), options.out / options.scale)
    require_machine(plan.scale.base, options.devices)
    require_writable_folder(options.out, options.scale, 1 << 20, "choose another --out")
    return plan


def require_scenes(jobs: Sequence[Job]) -> None:
    """Raises ValueError if the package that the Kitchen's scene comes from is needed and not installed."""
    if any(job.task in KITCHEN for job in jobs):
        asset_path()


def make(figure: Figure, options: Options) -> None:
    """Runs what is not finished yet, and writes table.md, table.json and figure.png into the figure's folder.

    They are written after every new run, with what is known by then, and at the end, when other processes may have
    finished more. These may make the same figure, or one with the same runs, at the same time.

    A run that ends with numbers that are not finite is left out, with those that begin from it. Stopped is raised for
    it after all others.
    """
    plan = make_plan(options)
    jobs = tuple(figure.jobs(plan))
    require_scenes(jobs)
    require_own_runs(plan, jobs)
    results = Results(plan, jobs)
    for recording in figure.recordings(plan):
        record(recording, plan.scale.base)
    failed: dict[str, str] = {}
    for name, config in claim_each([run for job in jobs for run in job.runs()], plan.runs, figure.name):
        if config.init_from is not None and (parent := Path(config.init_from).name) in failed:
            failed[name] = f"it begins from {parent}"
            continue
        try:
            run = finish_run(config, plan.runs / name, options.devices)
        except Stopped as stopped:
            if stopped.exit_code != NOT_FINITE:
                raise
            failed[name] = str(stopped)
            continue
        if keep_scores(run, options.devices):
            write(figure, results)
    write(figure, results)
    if failed:
        listed = "; ".join(f"{name} ({why})" for name, why in failed.items())
        raise Stopped(f"{figure.name} lacks the runs {listed}", exit_code=NOT_FINITE)


def require_own_runs(plan: Plan, jobs: Sequence[Job]) -> None:
    """Raises ValueError if a run that is there already has another config, encoder or parent than the plan's."""
    usual = plan.scale.base.encoder
    there = [(plan.runs / name, config) for job in jobs for name, config in job.runs()]
    there = [(path, config) for path, config in there if (path / "config.json").exists()]
    weights = load_encoder(usual).fingerprint if there and usual is not None else None
    for path, config in there:
        require_same_config(config, path)
        looks = config.encoder == usual and config.reward == "video"
        require_same_origin(path, weights if looks else None)


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
