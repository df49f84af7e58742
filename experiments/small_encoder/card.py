"""The model card of the bundled encoder, written from the evaluation's numbers."""

from collections.abc import Mapping

from experiments.small_encoder.evaluation import summarize
from experiments.small_encoder.sentences import HELD_OUT_TASKS, TRAINED_TASKS, split_sentences
from experiments.small_encoder.workspace import FOCUS, Recipe

COLUMNS = {
    "successes": "successes",
    "auc": "AUC of success",
    "auc_paraphrase": "AUC, held-out sentences",
    "rank": "rank correlation",
    "recall": "right task of all",
}

TEXT = """# Model card: the encoder `small`

A narrow S3D with a text tower ({n_params:,} parameters, {n_words} words), which comes with rcjax. Written by
`python -m experiments.small_encoder`; do not edit.

**What it is for.** Trying rcjax without a download: training from sentences, tests, and figures at laptop scale.

**What it is not.** It stands in for the S3D of HowTo100M that RoboCLIP uses, and is no evidence for or against the
paper's claims. RoboCLIP's point is that a model trained on videos of people, without the robot's simulator, can
reward a robot. This encoder is trained in the very simulator, with the simulator's own success signal as labels.

**What it knows.** The scenes of Metaworld and of the Franka Kitchen, each from one camera, as rcjax draws them: clips
of {n_frames} frames of {size}x{size} pixels. Simple sentences about its {n_tasks} tasks, of the words that it was
trained on. It knows nothing of people, cartoons, other robots or other cameras.

**Known weakness.** As the only reward it can be fooled: see "Does `small` guide a policy?" in experiments/README.md.

**Training data.** {episodes} episodes of each of {n_tasks} tasks: expert policies (Metaworld's, and rcjax's scripts for
the Kitchen, whose arm is led by its end) as they are, faster, with noise, blended with drifting motion or breaking off,
the expert of a sibling task in the same scene, a hand that hovers at random places, and untrained motion.{learned} All
start from the training starts (seeds 0 to 255; the Kitchen has one start). Labels: whether the simulator reports
success, and for failures how near the hand came to the object and the object to its goal. {n_sentences} sentences;
{words_held_out} others are held out.

**Evaluation.** {held_out} scripted episodes of each task from other starts (seeds 500 to 531). AUC: the probability
that a successful episode is more similar to the task's sentence than a failed one (0.5 is chance). Rank correlation:
Spearman's, of that similarity with the episode's progress. Right task of fifty: successful episodes whose most
similar prompt is their own task's. The tasks in the last block were never trained on.

| tasks | {header} |
| --- | {rule} |
{rows}
"""


LEARNED = (
    " Then {kept} episodes of each task ({kept_focus} of the ten that the paper trains on) from a policy that learned "
    "from the encoder by PPO, in each of {rounds} rounds, after which the encoder was trained further: they show what "
    "pleases it without being the task."
)


def write_card(recipe: Recipe, table: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]) -> str:
    """Returns the card as Markdown.

    `sizes` has n_params, n_words, n_frames and size, and the clips kept of a task in a round: kept, kept_focus.
    """
    split = [split_sentences(task) for task in TRAINED_TASKS]
    summary = summarize(table)
    rows = [_row(f"**mean of the {len(TRAINED_TASKS)} trained on**", summary["trained on"])]
    rows += [_row(f"{task} (paper)", table[task]) for task in FOCUS if task in table]
    rows += [_row(task, table[task]) for task in TRAINED_TASKS if task in table and task not in FOCUS]
    rows += [_row(f"**mean of the {len(HELD_OUT_TASKS)} never trained on**", summary["never trained on"])]
    rows += [_row(f"{task} (never trained on)", table[task]) for task in HELD_OUT_TASKS if task in table]
    return TEXT.format(
        **sizes,
        n_tasks=len(TRAINED_TASKS),
        episodes=recipe.episodes,
        learned=LEARNED.format(rounds=recipe.rounds, **sizes) if recipe.rounds else "",
        n_sentences=sum(len(trained) for trained, _ in split),
        words_held_out=sum(len(held_out) for _, held_out in split),
        held_out=recipe.held_out_episodes,
        header=" | ".join(COLUMNS.values()),
        rule=" | ".join("---" for _ in COLUMNS),
        rows="\n".join(rows),
    )


def _row(name: str, values: Mapping[str, float]) -> str:
    return f"| {name} | " + " | ".join(f"{values[column]:.2f}" for column in COLUMNS) + " |"
