"""The command that makes the bundled encoder, step by step."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import jax
import tyro

from experiments.small_encoder.card import write_card
from experiments.small_encoder.dataset import VIDEO, Clips
from experiments.small_encoder.evaluation import Table, evaluate, summarize
from experiments.small_encoder.fitting import finished_encoder, fit
from experiments.small_encoder.jobs import make_all, make_learned, make_scripted
from experiments.small_encoder.learner import KEPT
from experiments.small_encoder.sentences import ALL_TASKS, TRAINED_TASKS
from experiments.small_encoder.workspace import Recipe, Workspace
from rcjax.encoders import BUNDLED, SMALL, Encoder, load_encoder, save_encoder
from rcjax.encoders.s3d import S3D, WordTokenizer


@dataclasses.dataclass(frozen=True)
class Command:
    """Make the bundled encoder. The same command continues what was interrupted."""

    recipe: tyro.conf.OmitArgPrefixes[Recipe]
    # Folder for the data, the states of training and the encoder.
    out: Path = Path("runs/small_encoder")
    # Number of processes that make episodes side by side.
    workers: int = os.cpu_count() or 1
    # Put the finished encoder and its model card into the package, in place of those that are there.
    install: bool = False


def train_round(workspace: Workspace, recipe: Recipe, round: int) -> None:
    """Trains the encoder of a round on the scripted clips and on those of all policies that have learned so far."""
    if workspace.encoder(round).exists():
        return
    kinds = ["scripted", *(f"learned-{k}" for k in range(1, round + 1))]
    clips = {
        task: Clips.concatenate([Clips.load(workspace.clips(kind, task)) for kind in kinds]) for task in TRAINED_TASKS
    }
    save_encoder(workspace.encoder(round), finished_encoder(fit(workspace, recipe, round, clips)))


def report(workspace: Workspace, round: int) -> Table:
    """Evaluates the encoder of a round, prints the means, and writes and returns all numbers."""
    held_out = {task: Clips.load(workspace.clips("held_out", task)) for task in ALL_TASKS}
    table = evaluate(load_encoder(workspace.encoder(round)), held_out)
    (workspace.path / f"evaluation-{round}.json").write_text(json.dumps(table, indent=1) + "\n")
    for name, means in summarize(table).items():
        print(f"round {round}, tasks {name}:", *(f"{column} {mean:.3f}" for column, mean in means.items()), flush=True)
    return table


def describe(recipe: Recipe, encoder: Encoder, table: Table) -> str:
    """Returns the encoder's model card."""
    assert isinstance(encoder.network, S3D) and isinstance(encoder.tokenizer, WordTokenizer)
    sizes = {
        "n_params": sum(leaf.size for leaf in jax.tree.leaves(encoder.params)),
        "n_words": len(encoder.tokenizer.vocabulary),
        "n_frames": VIDEO.n_frames,
        "size": VIDEO.size,
        "kept": KEPT * recipe.iterations,
        "kept_focus": KEPT * recipe.focus_iterations,
    }
    return write_card(recipe, table, sizes)


def install(encoder: Path, card: Path) -> None:
    """Replaces the encoder and the model card in the package."""
    shutil.rmtree(BUNDLED[SMALL], ignore_errors=True)
    shutil.copytree(encoder, BUNDLED[SMALL])
    shutil.copy(card, BUNDLED[SMALL].with_name("SMALL.md"))


def main(command: Command) -> None:
    recipe, workspace = command.recipe, Workspace(command.out)
    workspace.open(recipe)
    for kind, tasks in (("scripted", TRAINED_TASKS), ("held_out", ALL_TASKS)):
        make_all(make_scripted, workspace, kind, tasks, recipe, command.workers)
    for round in range(recipe.rounds + 1):
        if round > 0:
            make_all(make_learned, workspace, f"learned-{round}", TRAINED_TASKS, recipe, command.workers)
        train_round(workspace, recipe, round)
        table = report(workspace, round)
    encoder, card = workspace.encoder(recipe.rounds), workspace.path / "SMALL.md"
    card.write_text(describe(recipe, load_encoder(encoder), table))
    print(f"Written to {encoder} and {card}.")
    if command.install:
        install(encoder, card)
