"""`python -m experiments.all`: all figures of the paper, one after another.

Runs that several figures show are made once; interrupted, the same command goes on where it was.
"""

import dataclasses
import sys

from experiments import fig2, fig3, fig4, fig5, fig6, fig7, fig8, fig9
from experiments.entry import run
from experiments.figure import make, make_plan, require_scenes
from experiments.scales import Options


@dataclasses.dataclass(frozen=True)
class Command(Options):
    """Options of all figures."""

    # Videos as demonstrations of figure 7, each as TASK=FILE, e.g. door-open=fridge.gif.
    video: tuple[str, ...] = ()
    # Folder of converted weights of CLIP for figure 9 (python -m weights_convert --help).
    clip: str | None = None


def make_all(command: Command) -> None:
    """Makes all figures. Raises ValueError for options that cannot be, before any of them."""
    figures = [
        fig8.FIGURE,
        fig3.FIGURE,
        fig4.FIGURE,
        fig5.FIGURE,
        fig6.FIGURE,
        fig7.figure(fig7.parse_videos(command.video)),
        fig9.figure(fig9.check_clip(command.clip)),
    ]
    plan = make_plan(command)
    require_scenes([job for figure in figures for job in figure.jobs(plan)])
    fig2.make_figure(command)
    for figure in figures:
        make(figure, command)


if __name__ == "__main__":
    sys.exit(run("all", Command, make_all, __doc__))
