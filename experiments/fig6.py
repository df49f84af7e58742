"""`python -m experiments.fig6`: policies that learned from a sentence, finetuned on one episode of the expert.

Figure 6 of the paper, on coffee-push and faucet-open. The paper does not name its method; here it is behaviour cloning
from the pretrained policy, also kept near that policy by a KL divergence. The controls are cloning from scratch, and
the episode's actions repeated whatever is observed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.claims import SOLVED, judge_tasks
from experiments.drawing import Bars, bars_figure
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Difference, Verdict, above, difference

TASKS = ("coffee-push", "faucet-open")
KL_WEIGHTS = (0.0, 0.1, 1.0)
AFTER = 2.0  # times the return before; the paper's "about 200 %" more would be 3 times


def jobs(plan: Plan) -> list[Job]:
    listed = []
    for task in plan.tasks(TASKS):
        pretrained = plan.from_text(task)
        listed += [pretrained, *(plan.cloned(pretrained, weight) for weight in KL_WEIGHTS)]
        listed.append(plan.cloned_from_scratch(task))
    return listed


def draw(results: Results, path: Path) -> None:
    plan = results.plan
    groups = []
    for task in plan.tasks(TASKS):
        before, scratch = plan.from_text(task), plan.cloned_from_scratch(task)
        bars = {"from the sentence": (before, "last")}
        bars |= {f"then cloned, KL {weight:g}": (plan.cloned(before, weight), "last") for weight in KL_WEIGHTS}
        bars |= {"cloned from scratch": (scratch, "last"), "replayed": (scratch, "replay")}
        groups.append(Bars(task, bars))
    bars_figure(results, groups, path, "Figure 6: finetuning on one episode", "true_return", "true return")


def judge(results: Results) -> Sequence[Verdict]:
    plan = results.plan
    tasks = plan.tasks(TASKS)

    def gain(task: str) -> list[Difference] | None:
        pretrained = plan.from_text(task)
        before, after = results.scores(pretrained), results.scores(plan.cloned(pretrained))
        scratch = results.scores(plan.cloned_from_scratch(task))
        if before is None or after is None or scratch is None:
            return None
        return [difference(after, before, AFTER), difference(after, scratch)]

    def completed(task: str) -> list[Difference] | None:
        success = results.scores(plan.cloned(plan.from_text(task)), metric="success_rate")
        return None if success is None else [above(success, SOLVED)]

    return [
        judge_tasks("C6a", "finetuning on one episode adds about 200 % to the return, more than cloning alone reaches",
                    tasks, gain),
        judge_tasks("C6b", "it makes partial successes complete", tasks, completed),
    ]  # fmt: skip


FIGURE = Figure("fig6", "Figure 6: finetuning on one episode of the expert", jobs, draw, judge)

if __name__ == "__main__":
    sys.exit(run("fig6", Options, lambda options: make(FIGURE, options), __doc__))
