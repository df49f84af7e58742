"""`python -m experiments.fig2`: sentences against episodes of the paper's tasks that are done better and worse.

Figure 2 of the paper: the sentence of each task should rank the task's own episodes best. The paper names neither its
tasks nor most of its sentences; see `rcjax align`, which does the same for any tasks, sentences and videos.
"""

import json
import sys
from pathlib import Path

from experiments.entry import run
from experiments.figure import make_plan
from experiments.plan import Plan
from experiments.scales import Options
from experiments.tables import verdicts_as_markdown
from experiments.verdicts import Outcome, Verdict
from rcjax import __version__
from rcjax.alignment import Alignment, align_tasks, own_sentences, to_json
from rcjax.alignment_report import alignment_figure, as_markdown
from rcjax.encoders import Encoder, load_encoder
from rcjax.envs.registry import PAPER_TASKS
from rcjax.files import write_atomically

TITLE = "Figure 2: sentences and episodes"
SIGNIFICANT = 0.05


def make_figure(options: Options) -> None:
    """Writes table.md, table.json and a picture for each number of episodes, unless table.json has them already."""
    plan = make_plan(options)
    folder, encoder = plan.folder / "fig2", load_encoder(str(plan.scale.base.encoder))
    setting = describe(plan, encoder)
    if is_finished(folder, setting):
        return
    alignments = {n: align_episodes(plan, encoder, n) for n in plan.scale.aligned}
    folder.mkdir(parents=True, exist_ok=True)
    for i, (n, alignment) in enumerate(alignments.items()):
        name = "figure.png" if i == 0 else f"figure-{n}.png"
        alignment_figure(alignment, folder / name, f"{TITLE}, {n} of each task")
    write_tables(alignments, setting, folder)


def describe(plan: Plan, encoder: Encoder) -> dict[str, object]:
    """Returns what the results depend on."""
    tasks, counts = plan.tasks(PAPER_TASKS), list(plan.scale.aligned)
    about: dict[str, object] = {"encoder": encoder.provenance, "weights": encoder.fingerprint}
    return {"scale": plan.scale.name, "tasks": tasks, "episodes": counts} | about


def is_finished(folder: Path, setting: dict[str, object]) -> bool:
    """Returns whether the folder has results of this setting."""
    path = folder / "table.json"
    return path.exists() and {name: json.loads(path.read_text()).get(name) for name in setting} == setting


def align_episodes(plan: Plan, encoder: Encoder, n_episodes: int) -> Alignment:
    tasks = plan.tasks(PAPER_TASKS)
    return align_tasks(tasks, [], own_sentences(tasks), encoder, plan.scale.base.video, n_episodes)


def judge(alignment: Alignment) -> list[Verdict]:
    """Returns whether the right sentence has each row's highest correlation, and highest mean similarity."""
    return [
        _judge(alignment, "C3 (text)", "the right sentence correlates best with the true return", "spearman"),
        _judge(alignment, "C3 (caption)", "the right sentence has the highest mean similarity", "similarity"),
    ]


def _judge(alignment: Alignment, claim: str, text: str, matrix: str) -> Verdict:
    own = alignment.own(matrix)
    if own is None:
        return Verdict(claim, text, "cannot tell", "there are too few tasks, or constant returns")
    n = len(alignment.rows)
    chance: Outcome = "cannot tell" if own.p_value < SIGNIFICANT else "not reproduced"
    outcome: Outcome = "reproduced" if own.hits == n and own.p_value < SIGNIFICANT else chance
    return Verdict(claim, text, outcome, f"in {own.hits} of {n} tasks; by chance with p = {own.p_value:.2g}")


def write_tables(alignments: dict[int, Alignment], setting: dict[str, object], folder: Path) -> None:
    """Writes table.md and table.json."""
    verdicts = {n: judge(alignment) for n, alignment in alignments.items()}
    parts = [
        f"## {n} episodes of each task\n\n{as_markdown(alignment)}\n{verdicts_as_markdown(verdicts[n])}"
        for n, alignment in alignments.items()
    ]
    about = f"Scale {setting['scale']}, encoder {setting['encoder']}. rcjax {__version__}."
    results = {str(n): to_json(a) | {"verdicts": [vars(v) for v in verdicts[n]]} for n, a in alignments.items()}
    values = json.dumps(setting | {"rcjax": __version__, "results": results}, indent=1) + "\n"
    text = f"# {TITLE}\n\n{about}\n\n" + "\n".join(parts)
    write_atomically(folder / "table.md", lambda part: part.write_text(text))
    write_atomically(folder / "table.json", lambda part: part.write_text(values))


if __name__ == "__main__":
    sys.exit(run("fig2", Options, make_figure, __doc__))
