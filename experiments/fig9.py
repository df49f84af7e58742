"""`python -m experiments.fig9`: ablations: several demonstrations, a random S3D, and CLIP on the last frame.

Figure 9 of the paper, which does not state its tasks; here they are drawer-close and button-press. CLIP needs its own
converted weights (--clip FOLDER); without them, its bar is left out.
"""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments.claims import FLOOR, judge_tasks
from experiments.drawing import Bars, bars_figure
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.recordings import N_STARTS, Recording
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Difference, Verdict, below, difference, missing
from rcjax.config import VIEW_HEIGHT, TaskSpec
from rcjax.encoders import load_encoder
from rcjax.envs.registry import TASKS as ALL_TASKS

TASKS = ("drawer-close", "button-press")
N_DEMONSTRATIONS = 5
CLIP_SIZE = 224  # pixels of the frame that CLIP sees


@dataclasses.dataclass(frozen=True)
class Command(Options):
    """Options of figure 9."""

    # Folder of converted weights of CLIP (python -m weights_convert --help).
    clip: str | None = None


def check_clip(clip: str | None) -> str | None:
    """Returns the absolute path. Raises ValueError if it has no encoder that takes a single frame."""
    if clip is None:
        return None
    load_encoder(clip).network.check_clips(1, CLIP_SIZE, 1 / 255)
    return str(Path(clip).absolute())


def recordings(plan: Plan) -> list[Recording]:
    return [recording for task in plan.tasks(TASKS) for recording in _demonstrations(plan, task)]


def _demonstrations(plan: Plan, task: str) -> list[Recording]:
    """Returns the recordings of several starts, the first of which is that of `--video expert`."""
    return [
        Recording(plan.recording(f"{task}-start{i}"), task, first_seed=i * N_STARTS) for i in range(N_DEMONSTRATIONS)
    ]


def one(plan: Plan, task: str) -> Job:
    return plan.from_expert_video(task)


def several(plan: Plan, task: str) -> Job:
    videos = tuple(str(recording.path) for recording in _demonstrations(plan, task))
    label = f"RoboCLIP, {N_DEMONSTRATIONS} videos of the expert"
    return plan.from_spec(task, f"videos-{N_DEMONSTRATIONS}", label, TaskSpec(video=videos))


def by_clip(plan: Plan, task: str, clip: str) -> Job:
    base = plan.scale.base
    video = dataclasses.replace(
        base.video, size=CLIP_SIZE, view=VIEW_HEIGHT, frame_stride=base.video.episode_length
    )  # fmt: skip
    text = ALL_TASKS[task].prompt
    return plan.from_encoder(
        task, "clip", f"CLIP on the last frame, “{text}”", encoder=clip, video=video, spec=TaskSpec(text=(text,))
    )


def settings(plan: Plan, task: str, clip: str | None) -> dict[str, Job]:
    """Returns the jobs of a task by their names below the bars."""
    listed = {
        "1 video": one(plan, task),
        f"{N_DEMONSTRATIONS} videos": several(plan, task),
        "1 video, random S3D": plan.from_random_encoders(task),
    }
    return listed if clip is None else listed | {"CLIP, last frame": by_clip(plan, task, clip)}


def jobs(plan: Plan, clip: str | None) -> list[Job]:
    return [job for task in plan.tasks(TASKS) for job in settings(plan, task, clip).values()]


def draw(results: Results, path: Path, clip: str | None) -> None:
    plan = results.plan
    groups = [
        Bars(task, {label: (job, "last") for label, job in settings(plan, task, clip).items()})
        for task in plan.tasks(TASKS)
    ]
    bars_figure(results, groups, path, "Figure 9: ablations", "normalized_return", "normalised return")


def judge(results: Results, clip: str | None) -> Sequence[Verdict]:
    plan = results.plan
    tasks = plan.tasks(TASKS)

    def better_than(other: Job, task: str) -> list[Difference] | None:
        own, rival = results.scores(one(plan, task)), results.scores(other)
        return None if own is None or rival is None else [difference(own, rival)]

    def no_signal(task: str) -> list[Difference] | None:
        assert clip is not None
        scores = results.scores(by_clip(plan, task, clip))
        return None if scores is None else [below(scores, FLOOR)]

    text = "CLIP on the last frame gives no useful signal"
    return [
        judge_tasks("C8a", "one demonstration is better than several", tasks,
                    lambda task: better_than(several(plan, task), task)),
        judge_tasks("random S3D (result not stated)", "one video is better with the encoder than with a random "
                    "one", tasks, lambda task: better_than(plan.from_random_encoders(task), task)),
        missing("C8b", text, "no weights of CLIP were given (--clip)") if clip is None
        else judge_tasks("C8b", text, tasks, no_signal),
    ]  # fmt: skip


def figure(clip: str | None) -> Figure:
    """Returns the figure, with CLIP if a folder of its weights is given."""
    title = "Figure 9: ablations"
    return Figure(
        "fig9", title, partial(jobs, clip=clip), partial(draw, clip=clip), partial(judge, clip=clip), recordings
    )


if __name__ == "__main__":
    sys.exit(run("fig9", Command, lambda options: make(figure(check_clip(options.clip)), options), __doc__))
