"""`python -m experiments.fig8`: a video of another task that two sentences edit into drawer-close's demonstration.

Figure 8 and equation 3 of the paper: the video of a robot that pushes a button, minus "red button", plus "green
drawer"; beside the sentence of drawer-close alone and PPO on the dense reward. All are finetuned on the dense reward.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.claims import FLOOR
from experiments.drawing import curves_figure, finetuning_panel
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.recordings import Recording
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Verdict, above, difference, every, missing
from rcjax.config import TaskSpec

TASK, EDITED = "drawer-close", "button-press"
DROP = 0.1  # share of the return before finetuning whose loss counts as unstable


def recordings(plan: Plan) -> list[Recording]:
    return [Recording(plan.recording(EDITED), EDITED)]


def edited(plan: Plan) -> Job:
    path = str(plan.recording(EDITED))
    spec = TaskSpec(video=(path,), minus_text=("red button",), text=("green drawer",))
    return plan.from_spec(TASK, "edited", "RoboCLIP, video - “red button” + “green drawer”", spec)


def pretrained(plan: Plan) -> list[Job]:
    return [edited(plan), plan.from_text(TASK)]


def jobs(plan: Plan) -> list[Job]:
    begun = pretrained(plan)
    return [*begun, plan.from_reward(TASK, "dense"), *(plan.finetuned(job, "release") for job in begun)]


def draw(results: Results, path: Path) -> None:
    plan = results.plan
    panel = finetuning_panel(plan, TASK, pretrained(plan), "release")
    curves_figure(results, [[panel]], path, "Figure 8: an edited demonstration")


def judge(results: Results) -> Sequence[Verdict]:
    return [_better_than_the_sentence(results), _unstable(results)]


def _better_than_the_sentence(results: Results) -> Verdict:
    text = "before finetuning, the edited video leads to a higher return than the sentence alone"
    scores = [results.scores(job) for job in pretrained(results.plan)]
    if scores[0] is None or scores[1] is None:
        return missing("C7", text)
    better, useful = difference(scores[0], scores[1]), above(scores[0], FLOOR)
    outcome = every([better.outcome, useful.outcome])
    return Verdict("C7", text, outcome, f"difference of normalised returns {better}, above {FLOOR} by {useful}")


def _unstable(results: Results) -> Verdict:
    """The lowest return of each seed's finetuning falls below 90 % of that before it."""
    text = "finetuning the sentence's policy on the task's reward is unstable"
    job = results.plan.finetuned(results.plan.from_text(TASK), "release")
    if results.scores(job) is None:
        return missing("C9", text)
    _, returns = results.curve(job)
    before, lowest = returns[:, 0], returns.min(1)
    found = above(before - DROP * abs(before) - lowest, 0.0)
    numbers = ", ".join(f"{low:.0f} from {first:.0f}" for low, first in zip(lowest, before, strict=True))
    return Verdict("C9", text, found.outcome, f"lowest returns of finetuning, of the seeds: {numbers}")


FIGURE = Figure("fig8", "Figure 8: a demonstration edited by sentences", jobs, draw, judge, recordings)

if __name__ == "__main__":
    sys.exit(run("fig8", Options, lambda options: make(FIGURE, options), __doc__))
