"""`python -m experiments.fig3`: policies that learned from a sentence, GAIL and AIRL, finetuned on the dense reward.

Figure 3 of the paper, on drawer-close, door-close and button-press, with PPO on the dense reward from scratch. Beside
it are the expert's video as the demonstration, and finetuning as the release does it and soundly.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.claims import finetuning_stays_above, solved, zero_shot_ratio
from experiments.drawing import curves_figure, finetuning_panel
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Finetuning, Job, Plan
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Verdict

TASKS = ("drawer-close", "door-close", "button-press")
KINDS: tuple[Finetuning, ...] = ("release", "sound")


def pretrained(plan: Plan, task: str) -> list[Job]:
    """Returns the jobs whose policies are finetuned: RoboCLIP's, and then those of its rivals."""
    return [plan.from_text(task), plan.from_reward(task, "gail"), plan.from_reward(task, "airl")]


def jobs(plan: Plan) -> list[Job]:
    listed = []
    for task in plan.tasks(TASKS):
        listed += [*pretrained(plan, task), plan.from_expert_video(task)]
        listed += [plan.from_reward(task, "dense"), plan.from_scaled_dense(task)]
        listed += [plan.finetuned(job, kind) for kind in KINDS for job in pretrained(plan, task)]
    return listed


def draw(results: Results, path: Path) -> None:
    plan = results.plan
    rows = [
        [finetuning_panel(plan, f"{task} ({kind})", pretrained(plan, task), kind) for task in plan.tasks(TASKS)]
        for kind in KINDS
    ]
    curves_figure(results, rows, path, "Figure 3: finetuning on the dense reward")


def judge(results: Results) -> Sequence[Verdict]:
    plan = results.plan
    tasks = {task: pretrained(plan, task) for task in plan.tasks(TASKS)}
    finetuned = {task: [plan.finetuned(job, "release") for job in listed] for task, listed in tasks.items()}
    return [
        zero_shot_ratio(results, "C2a", tasks),
        finetuning_stays_above(results, "C2b", finetuned),
        solved(results, "C2c", {task: listed[0] for task, listed in tasks.items()}),
    ]


FIGURE = Figure("fig3", "Figure 3: a sentence as the only reward, and finetuning", jobs, draw, judge)

if __name__ == "__main__":
    sys.exit(run("fig3", Options, lambda options: make(FIGURE, options), __doc__))
