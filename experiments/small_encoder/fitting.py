"""The training loop of the encoder, on the host: batches, steps, and the saved state."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from experiments.small_encoder.dataset import VIDEO, Clips
from experiments.small_encoder.sentences import TRAINED_TASKS, split_sentences
from experiments.small_encoder.training import (
    ARCHITECTURE,
    Batch,
    TrainingConfig,
    TrainingState,
    embedding_norm,
    fold,
    initial_state,
    optimizer,
    train_step,
)
from experiments.small_encoder.workspace import Recipe, Workspace, load_state, save_state
from rcjax.encoders import Encoder
from rcjax.encoders.s3d import S3D, WordTokenizer, space_to_depth
from rcjax.encoders.s3d.text import words_of

SAVE_EVERY = 200  # steps
PROVENANCE = "small, trained by rcjax on simulated episodes of Metaworld and Franka Kitchen (experiments/small_encoder)"


def make_tokenizer() -> WordTokenizer:
    """Returns the tokenizer of all words in the sentences to train on."""
    sentences = (sentence for task in TRAINED_TASKS for sentence in split_sentences(task)[0])
    words = sorted({word for sentence in sentences for word in words_of(sentence)})
    return WordTokenizer({word: row for row, word in enumerate(words, start=1)})


class Batches:
    """Draws the batches of a training round. A batch depends on the seed, the round and the step alone."""

    def __init__(self, clips: Mapping[str, Clips], tokenizer: WordTokenizer, seed: int, config: TrainingConfig):
        self.config, self.seed = config, seed
        self.frames = [np.asarray(space_to_depth(clips[task].frames)) for task in TRAINED_TASKS]
        self.progress = [clips[task].progress for task in TRAINED_TASKS]
        self.successes = [np.flatnonzero(clips[task].success) for task in TRAINED_TASKS]
        self.failures = [np.flatnonzero(~clips[task].success) for task in TRAINED_TASKS]
        self.sentences = [tokenizer.tokenize(split_sentences(task)[0]) for task in TRAINED_TASKS]

    def draw(self, round: int, step: int) -> Batch:
        """Returns a few clips of some tasks, at least one success and one failure of each that has them.

        Half of the time a task's sentence is its prompt, which comes first.
        """
        random = np.random.default_rng([self.seed, round, step])
        tasks = random.choice(len(self.frames), self.config.tasks_in_batch, replace=False)
        rows = [self._rows(task, random) for task in tasks]
        chosen = [(task, row) for task, of_task in zip(tasks, rows, strict=True) for row in of_task]
        sentences = [ids[0 if random.random() < 0.5 else random.integers(len(ids))] for ids in self.sentences]
        return Batch.of_leaves(
            clips=np.stack([self.frames[task][row] for task, row in chosen]),
            task=np.repeat(tasks, self.config.clips_of_task).astype(np.int32),
            progress=np.array([self.progress[task][row] for task, row in chosen]),
            sentences=np.stack(sentences),
        )

    def _rows(self, task: int, random: np.random.Generator) -> list[int]:
        everything = np.arange(len(self.frames[task]))
        pools = [self.successes[task], self.failures[task]] + [everything] * (self.config.clips_of_task - 2)
        return [int(random.choice(pool if len(pool) else everything)) for pool in pools]


def fit(workspace: Workspace, recipe: Recipe, round: int, clips: Mapping[str, Clips]) -> TrainingState:
    """Trains round `round` on the clips of each task, from the last state of the round before, and returns the state.

    The state is saved every `SAVE_EVERY` steps, and an interrupted round goes on from there.
    """
    config, tokenizer = recipe.training(round), make_tokenizer()
    state = initial_state(jax.random.key(recipe.seed), tokenizer.n_rows, config)
    path = workspace.training_state(round)
    if path.exists():
        state = load_state(path, state)
    elif round > 0:
        before = load_state(workspace.training_state(round - 1), state)
        fresh = optimizer(config).init(before.params)
        state = before.replace(optimizer=fresh, step=jnp.zeros((), jnp.int32))
    batches = Batches(clips, tokenizer, recipe.seed, config)
    key = jax.random.fold_in(jax.random.key(recipe.seed + 1), round)
    mesh = Mesh(np.array(jax.devices()), ("clip",))
    everywhere, by_clip = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("clip"))
    state = jax.device_put(state, everywhere)
    means: dict[str, float] = {}
    with tqdm(range(int(state.step), config.steps), desc=f"training, round {round}", initial=int(state.step),
              total=config.steps, mininterval=5) as bar:  # fmt: skip
        for step in bar:
            batch = batches.draw(round, step)
            clips_on_devices = jax.device_put(batch.clips, by_clip)
            batch = jax.device_put(batch.replace(clips=None), everywhere).replace(clips=clips_on_devices)
            key_step = jax.device_put(jax.random.fold_in(key, step), everywhere)
            state, losses = train_step(state, batch, key_step, config)
            for name, loss in losses.items():
                means[name] = 0.98 * means.get(name, float(loss)) + 0.02 * float(loss)
            bar.set_postfix({name: f"{mean:.3f}" for name, mean in means.items()}, refresh=False)
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.steps:
                save_state(path, state)
    return state


def finished_encoder(state: TrainingState) -> Encoder:
    """Returns the encoder of a training state."""
    architecture = dataclasses.replace(ARCHITECTURE, embedding_norm=embedding_norm(state))
    network = S3D(architecture, n_frames=VIDEO.n_frames, size=VIDEO.size)
    return Encoder(network, jax.tree.map(jnp.asarray, fold(state)), make_tokenizer(), PROVENANCE)
