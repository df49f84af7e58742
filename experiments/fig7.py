"""`python -m experiments.fig7`: policies that learned from a video of another domain, finetuned on the dense reward.

Figure 7 of the paper, on button-press, drawer-open and door-open. Its demonstrations are videos of people and a
cartoon; give yours with --video TASK=FILE. Without, it is the expert's motion seen by another camera and in other
colours, because the encoder that comes with rcjax knows nothing but the simulated scenes.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from experiments.claims import zero_shot_ratio
from experiments.drawing import N_FRAMES, draw_frames, draw_panel, finetuning_panel, policy_video, save_figure
from experiments.entry import run
from experiments.figure import Figure, make
from experiments.plan import Job, Plan
from experiments.recordings import Recording
from experiments.results import Results
from experiments.scales import Options
from experiments.verdicts import Verdict
from rcjax.config import TaskSpec
from rcjax.envs import canonical_name
from rcjax.video_io import read_timeline, read_video

TASKS = ("button-press", "drawer-open", "door-open")
CAMERA = "corner"
Videos = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Command(Options):
    """Options of figure 7."""

    # Videos as demonstrations, each as TASK=FILE, e.g. door-open=fridge.gif.
    video: tuple[str, ...] = ()


def parse_videos(given: Sequence[str]) -> dict[str, str]:
    """Returns the absolute path of each task's video.

    Raises ValueError for anything but TASK=FILE of the figure, and for a file that is no video.
    """
    videos = {}
    for text in given:
        task, equals, path = text.partition("=")
        name = canonical_name(task) if equals else ""
        if name not in TASKS or not path or not Path(path).exists():
            raise ValueError(
                f"--video {text!r}: expected TASK=FILE with one of {', '.join(TASKS)} and an existing file."
            )
        read_timeline(Path(path))
        videos[name] = str(Path(path).absolute())
    return videos


def recordings(plan: Plan, videos: Videos) -> list[Recording]:
    """Returns the demonstrations of tasks without a video of the user's."""
    return [
        Recording(plan.recording(f"{task}-recoloured"), task, camera=CAMERA, recoloured=True)
        for task in plan.tasks(TASKS)
        if task not in videos
    ]


def from_video(plan: Plan, videos: Videos, task: str) -> Job:
    if task in videos:
        name = Path(videos[task]).stem
        return plan.from_spec(task, f"video-{name}", f"RoboCLIP, {name}", TaskSpec(video=(videos[task],)))
    path = str(plan.recording(f"{task}-recoloured"))
    label = "RoboCLIP, video by another camera, other colours"
    return plan.from_spec(task, "recoloured", label, TaskSpec(video=(path,)))


def pretrained(plan: Plan, videos: Videos, task: str) -> list[Job]:
    rivals = [plan.from_reward(task, "gail"), plan.from_reward(task, "airl")]
    return [from_video(plan, videos, task), *rivals]


def jobs(plan: Plan, videos: Videos) -> list[Job]:
    listed = []
    for task in plan.tasks(TASKS):
        begun = pretrained(plan, videos, task)
        listed += [*begun, plan.from_reward(task, "dense"), *(plan.finetuned(job, "release") for job in begun)]
    return listed


def draw(results: Results, path: Path, videos: Videos) -> None:
    plan = results.plan
    tasks = plan.tasks(TASKS)
    figure = plt.figure(figsize=(4.8 * len(tasks), 6.6), layout="constrained")
    for task, part in zip(tasks, figure.subfigures(1, len(tasks), squeeze=False)[0], strict=True):
        grid = part.add_gridspec(3, N_FRAMES, height_ratios=(3, 1, 1))
        panel = finetuning_panel(plan, task, pretrained(plan, videos, task), "release")
        draw_panel(part.add_subplot(grid[0, :]), results, panel)
        for row, (label, video) in enumerate(_videos(results, videos, task).items(), start=1):
            draw_frames([part.add_subplot(grid[row, i]) for i in range(N_FRAMES)], video, label)
    save_figure(figure, path, "Figure 7: a video of another domain as the only reward, and finetuning")


def _videos(results: Results, videos: Videos, task: str) -> dict[str, np.ndarray]:
    """Returns the frames of the demonstration, and of the first seed's policy if there is one."""
    shown = {}
    job = from_video(results.plan, videos, task)
    (source,) = job.configs[0].spec.video
    if Path(source).exists():
        shown["demonstration"] = read_video(Path(source))
    halves = policy_video(results, job)
    if halves is not None:
        shown["policy"] = halves[1]
    return shown


def judge(results: Results, videos: Videos) -> Sequence[Verdict]:
    plan = results.plan
    return [zero_shot_ratio(results, "C1", {task: pretrained(plan, videos, task) for task in plan.tasks(TASKS)})]


def figure(videos: Videos) -> Figure:
    """Returns the figure with these demonstrations, by task."""
    return Figure(
        "fig7",
        "Figure 7: a video of another domain as the only reward, and finetuning",
        partial(jobs, videos=videos),
        partial(draw, videos=videos),
        partial(judge, videos=videos),
        partial(recordings, videos=videos),
    )


if __name__ == "__main__":
    sys.exit(run("fig7", Command, lambda options: make(figure(parse_videos(options.video)), options), __doc__))
