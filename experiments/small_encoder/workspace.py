"""The folder in which the encoder is made: every finished step has a file there, so that work can be continued.

FOLDER/config.json        the `Recipe`; another one is refused
       scripted/TASK.npz  clips of the scripted behaviours, to train on
       held_out/TASK.npz  the same from other starts, to evaluate on
       learned-K/TASK.npz clips of policies that learned from encoder K-1; TASK.log has their iterations' numbers
       training-K.npz     the newest state of training round K
       encoder-K/         the encoder after round K
       evaluation-K.json  its numbers
       SMALL.md           the last one's model card
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.small_encoder.training import TrainingConfig, TrainingState
from rcjax.envs.registry import KITCHEN, PAPER_TASKS
from rcjax.files import write_arrays

FOCUS = (*PAPER_TASKS, *KITCHEN[:3])
"""The tasks of the paper's experiments"""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides what the encoder becomes."""

    # Seed of all random numbers.
    seed: int = 0
    # Episodes of the scripted behaviours of each task to train on.
    episodes: int = 192
    # Episodes of the scripted behaviours of each task to evaluate on.
    held_out_episodes: int = 32
    # Training steps before policies learn from the encoder.
    steps: int = 800
    # How often policies learn from the encoder, and the encoder then from their episodes.
    rounds: int = 3
    # PPO iterations of a task's policy in a round, and of the tasks of the paper's experiments, whose policies are to
    # come as far as those of a run do.
    iterations: int = 10
    focus_iterations: int = 40
    # Training steps after each round.
    round_steps: int = 400

    def iterations_of(self, task: str) -> int:
        """Returns the number of PPO iterations of a task's policy in a round."""
        return self.focus_iterations if task in FOCUS else self.iterations

    def training(self, round: int) -> TrainingConfig:
        """Returns the hyperparameters of a training round; round 0 is the first."""
        if round == 0:
            return TrainingConfig(steps=self.steps)
        return TrainingConfig(steps=self.round_steps, learning_rate=TrainingConfig.learning_rate / 2)


@dataclasses.dataclass(frozen=True)
class Workspace:
    """The paths in the folder."""

    path: Path

    def open(self, recipe: Recipe) -> None:
        """Makes the folder, or raises ValueError if another recipe was begun in it. Only `rounds` may differ."""
        config, values = self.path / "config.json", dataclasses.asdict(recipe)
        begun = json.loads(config.read_text()) if config.exists() else values
        if begun | {"rounds": recipe.rounds} != values:
            raise ValueError(f"{config} has another recipe than {values}; choose another folder, or its recipe.")
        self.path.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps(values, indent=1) + "\n")

    def clips(self, kind: str, task: str) -> Path:
        return self.path / kind / f"{task}.npz"

    def training_state(self, round: int) -> Path:
        return self.path / f"training-{round}.npz"

    def encoder(self, round: int) -> Path:
        return self.path / f"encoder-{round}"


def save_state(path: Path, state: TrainingState) -> None:
    """Writes the arrays of a training state, in the order of its leaves."""
    arrays = {f"arr_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    write_arrays(path, arrays, compress=False)


def load_state(path: Path, like: TrainingState) -> TrainingState:
    """Returns the state that `save_state` wrote; `like` has its structure."""
    with np.load(path, allow_pickle=False) as stored:
        leaves: list[Any] = [jax.numpy.asarray(stored[f"arr_{i}"]) for i in range(len(stored.files))]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
