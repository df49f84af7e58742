"""The claims that several figures test, by the criteria that README.md states.

`tasks` maps each task to its jobs, of which the first is RoboCLIP's and the others are its rivals'.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.plan import Job
from experiments.results import Results
from experiments.verdicts import Difference, Outcome, Scores, Verdict, above, difference, every, missing

TasksJobs = Mapping[str, Sequence[Job]]
MUCH_BETTER = 2.0  # "more than twice", in the paper's words
FLOOR = 0.05  # normalised return that a policy has to reach so that a ratio means something
SOLVED = 0.5  # success rate


def judge_tasks(
    claim: str, text: str, names: Sequence[str], compare: Callable[[str], Sequence[Difference] | None]
) -> Verdict:
    """Returns the verdict of a claim about several tasks, each of which has to hold.

    `compare` returns the differences that have to be above zero in a task, or None if its runs are missing.
    """
    outcomes: list[Outcome] = []
    reasons: list[str] = []
    for name in names:
        found = compare(name)
        if found is None:
            return missing(claim, text, f"runs of {name} are missing")
        outcomes.extend(each.outcome for each in found)
        reasons.append(f"{name}: {', '.join(map(str, found))}")
    return Verdict(claim, text, every(outcomes), "; ".join(reasons))


def zero_shot_ratio(results: Results, claim: str, tasks: TasksJobs) -> Verdict:
    """The zero-shot return is more than twice that of each rival, and above the floor.

    Returns are normalised, and a rival's that are below zero count as zero.
    """
    text = "before finetuning, its return is more than twice that of GAIL and of AIRL in every task"

    def compare(task: str) -> list[Difference] | None:
        own, *rivals = [results.scores(job) for job in tasks[task]]
        if own is None or any(rival is None for rival in rivals):
            return None
        found = [difference(own, np.maximum(rival, 0), MUCH_BETTER) for rival in rivals if rival is not None]
        return [*found, above(own, FLOOR)]

    return judge_tasks(claim, text, list(tasks), compare)


def finetuning_stays_above(results: Results, claim: str, tasks: TasksJobs) -> Verdict:
    """The true return, averaged over the evaluations of finetuning, is above that of each rival."""
    text = "throughout finetuning, its return is above that of GAIL and of AIRL in every task"

    def compare(task: str) -> list[Difference] | None:
        curves = [_mean_curve(results, job) for job in tasks[task]]
        own, *rivals = curves
        if own is None or any(rival is None for rival in rivals):
            return None
        return [difference(own, rival) for rival in rivals if rival is not None]

    return judge_tasks(claim, text, list(tasks), compare)


def _mean_curve(results: Results, job: Job) -> Scores | None:
    """Returns the mean of each seed's evaluations, or None before the job's runs are finished."""
    if results.scores(job) is None:
        return None
    _, values = results.curve(job)
    return values.mean(1)


def solved(results: Results, claim: str, jobs: Mapping[str, Job]) -> Verdict:
    """The success rate of the last policies before finetuning is above one half."""
    text = "the task is completed before finetuning, in every task"

    def compare(task: str) -> list[Difference] | None:
        success = results.scores(jobs[task], metric="success_rate")
        return None if success is None else [above(success, SOLVED)]

    return judge_tasks(claim, text, list(jobs), compare)
