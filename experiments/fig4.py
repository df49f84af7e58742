"""`python -m experiments.fig4`: policies that learned from one video of the Kitchen, beside GAIL and AIRL.

Figure 4 of the paper, on Franka Kitchen's kettle, hinge and slide, with the arm led by its end as in the release. The
demonstration is the expert's episode. With these controls untrained policies open the slide now and then, so they are
always shown beside.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.claims import FLOOR, judge_tasks, solved
from experiments.drawing import Bars, bars_figure
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Difference, Verdict, below
from rcjax.envs.registry import KITCHEN

TASKS = KITCHEN[:3]
TITLE = "Figure 4: one video of the Kitchen as the only reward"


def rivals(plan: Plan, task: str) -> list[Job]:
    return [plan.from_reward(task, "gail"), plan.from_reward(task, "airl")]


def jobs(plan: Plan) -> list[Job]:
    return [job for task in plan.tasks(TASKS) for job in (plan.from_expert_video(task), *rivals(plan, task))]


def draw(results: Results, path: Path) -> None:
    plan = results.plan
    groups = []
    for task in plan.tasks(TASKS):
        own = plan.from_expert_video(task)
        bars = {"untrained": (own, "untrained"), "RoboCLIP": (own, "last")}
        groups.append(Bars(task, bars | {job.label: (job, "last") for job in rivals(plan, task)}))
    bars_figure(results, groups, path, TITLE, "normalized_return", "normalised return")


def judge(results: Results) -> Sequence[Verdict]:
    plan = results.plan
    tasks = plan.tasks(TASKS)

    def untouched(task: str) -> list[Difference] | None:
        scores = [results.scores(job) for job in rivals(plan, task)]
        return None if any(each is None for each in scores) else [below(s, FLOOR) for s in scores if s is not None]

    return [
        solved(results, "C4a", {task: plan.from_expert_video(task) for task in tasks}),
        judge_tasks("C4b", "GAIL and AIRL mostly do not move what the task is about", tasks, untouched),
    ]


FIGURE = Figure("fig4", TITLE, jobs, draw, judge)

if __name__ == "__main__":
    sys.exit(run("fig4", Options, lambda options: make(FIGURE, options), __doc__))
