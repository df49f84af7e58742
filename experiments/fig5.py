"""`python -m experiments.fig5`: frames of the Kitchen's demonstrations, and of policies that learned from them.

Figure 5 of the paper, on slide and hinge. Its runs are those of figure 4.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from experiments.drawing import draw_frames, policy_video, save_figure
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Verdict, missing

TASKS = ("kitchen-slide", "kitchen-hinge")
N_FRAMES = 6
TITLE = "Figure 5: demonstrations and policies in the Kitchen"


def jobs(plan: Plan) -> list[Job]:
    return [plan.from_expert_video(task) for task in plan.tasks(TASKS)]


def draw(results: Results, path: Path) -> None:
    """Draws the demonstration and the first seed's policy of each task that is finished."""
    plan = results.plan
    rows = []
    for task in plan.tasks(TASKS):
        videos = policy_video(results, plan.from_expert_video(task))
        if videos is not None:
            rows += zip((f"{task}\ndemonstration", f"{task}\npolicy"), videos, strict=True)
    n_rows = max(1, len(rows))
    figure, axes = plt.subplots(
        n_rows, N_FRAMES, figsize=(1.6 * N_FRAMES, 1.8 * n_rows), layout="constrained", squeeze=False
    )
    for (label, video), row in zip(rows, axes, strict=False):
        draw_frames(row, video, label)
    save_figure(figure, path, TITLE)


def judge(results: Results) -> Sequence[Verdict]:
    del results
    return [missing("C5", "policies move in the style of their demonstration", "this has to be judged by eye")]


FIGURE = Figure("fig5", TITLE, jobs, draw, judge)

if __name__ == "__main__":
    sys.exit(run("fig5", Options, lambda options: make(FIGURE, options), __doc__))
