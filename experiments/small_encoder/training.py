"""The encoder's networks in training, and their losses."""

import dataclasses
import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Int

from rcjax.encoders.s3d.architecture import BLOCK_WIDTHS, Architecture, Widths
from rcjax.encoders.s3d.text import TextTower
from rcjax.encoders.s3d.video import VideoTower
from rcjax.encoders.s3d.weights import fold_batch_norm
from rcjax.pytree import PyTree

WIDTH = 4  # channels of the released model for each of ours
BLOCKS = ("mixed_3b", "mixed_3c", "mixed_4b", "mixed_4f", "mixed_5b", "mixed_5c")


def _narrow(width: int) -> int:
    """Returns the width divided by `WIDTH`, as a multiple of four."""
    return max(4, round(width / WIDTH / 4) * 4)


ARCHITECTURE = Architecture(
    stem=cast(tuple[int, int, int], tuple(map(_narrow, (64, 64, 192)))),
    blocks=tuple((name, cast(Widths, tuple(map(_narrow, BLOCK_WIDTHS[name])))) for name in BLOCKS),
    embedding_size=128,
    word_embedding_size=64,
    hidden_size=256,
    embedding_norm=1.0,
)
"""A quarter of S3D's width and six of its nine blocks, with embeddings of length 1"""


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Hyperparameters of the encoder's training."""

    steps: int = 2400
    tasks_in_batch: int = 16
    clips_of_task: int = 4
    learning_rate: float = 4e-3
    warmup_share: float = 0.05  # of the steps; then the learning rate falls to zero as a cosine
    weight_decay: float = 1e-3
    max_grad_norm: float = 1.0
    own_weight: float = 1.0  # of the loss of an episode with its own task's sentence
    video_weight: float = 0.5  # of the loss of an episode with a successful one as the demonstration
    foreign_weight: float = 0.5  # of the losses with sentences and videos of other tasks
    initial_scale: float = 10.0  # of the cosine, in logits
    initial_bias: float = 5.0  # subtracted from it


class TrainingState(PyTree):
    """What a training step changes."""

    params: dict[str, Any]  # video, text, and the logits' scale (its logarithm) and bias
    batch_stats: dict[str, Any]
    optimizer: optax.OptState
    step: Int[Array, ""]


class Batch(PyTree):
    """Clips in space-to-depth layout with their labels, and one sentence of every task."""

    clips: Array  # uint8 [n t h w 24]
    task: Int[Array, " n"]
    progress: Float[Array, " n"]
    sentences: Int[Array, "tasks words"]


def optimizer(config: TrainingConfig) -> optax.GradientTransformation:
    warmup = int(config.warmup_share * config.steps)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    return optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm), optax.adamw(schedule, weight_decay=config.weight_decay)
    )


def initial_state(key: Array, n_rows: int, config: TrainingConfig) -> TrainingState:
    """Returns untrained networks; `n_rows` is the size of the word table."""
    key_video, key_text = jax.random.split(key)
    video = video_tower().init(key_video, jnp.zeros((1, 8, 32, 32, 24)))
    text = text_tower(n_rows).init(key_text, jnp.zeros((1, 16), jnp.int32))
    params = {
        "video": video["params"],
        "text": text["params"],
        "log_scale": jnp.asarray(np.log(config.initial_scale), jnp.float32),
        "bias": jnp.asarray(config.initial_bias, jnp.float32),
    }
    return TrainingState(
        params=params,
        batch_stats=dict(video["batch_stats"]),
        optimizer=optimizer(config).init(params),
        step=jnp.zeros((), jnp.int32),
    )


def video_tower() -> VideoTower:
    return VideoTower(architecture=ARCHITECTURE, batch_norm=True)


def text_tower(n_rows: int) -> TextTower:
    return TextTower(n_rows=n_rows, architecture=ARCHITECTURE)


@functools.partial(jax.jit, static_argnames="config", donate_argnums=0)
def train_step(
    state: TrainingState, batch: Batch, key: Array, config: TrainingConfig
) -> tuple[TrainingState, dict[str, Float[Array, ""]]]:
    """Returns the state after one step of AdamW, and the losses."""
    gradients, (batch_stats, losses) = jax.grad(_loss, has_aux=True)(state.params, state, batch, key, config)
    updates, optimizer_state = optimizer(config).update(gradients, state.optimizer, state.params)
    params = cast(dict[str, Any], optax.apply_updates(state.params, updates))
    return TrainingState(params=params, batch_stats=batch_stats, optimizer=optimizer_state, step=state.step + 1), losses


def _loss(params: dict[str, Any], state: TrainingState, batch: Batch, key: Array, config: TrainingConfig):
    clips = _vary_colours(key, batch.clips.astype(jnp.float32) / 255)
    variables = {"params": params["video"], "batch_stats": state.batch_stats}
    video, changed = video_tower().apply(variables, clips, mutable=["batch_stats"])
    video = cast(Array, video)
    text = cast(
        Array, text_tower(params["text"]["word_embd"].shape[0]).apply({"params": params["text"]}, batch.sentences)
    )
    scale, bias = jnp.exp(params["log_scale"]), params["bias"]
    losses = contrast(scale * video @ text.T - bias, scale * video @ video.T - bias, batch.task, batch.progress)
    total = (
        losses["which_task"]
        + config.own_weight * losses["own_sentence"]
        + config.video_weight * losses["own_video"]
        + config.foreign_weight * (losses["foreign_sentence"] + losses["foreign_video"])
    )
    return total, (changed["batch_stats"], losses)


def contrast(
    by_sentence: Float[Array, "n tasks"],
    by_video: Float[Array, "n n"],
    task: Int[Array, " n"],
    progress: Float[Array, " n"],
) -> dict[str, Float[Array, ""]]:
    """Returns the losses of a batch, given the logits of each clip with every task's sentence and with every clip.

    - `which_task`: cross entropy of the softmax over all tasks' sentences, for successful clips;
    - `own_sentence`: distance of the logit of the clip's own task from what the clip's progress is worth;
    - `foreign_sentence`: logistic loss of the other tasks, whose label is 0;
    - `own_video` and `foreign_video`: the same with the batch's other, successful clips as demonstrations.
    """
    success = (progress >= 1).astype(jnp.float32)
    own = jax.nn.one_hot(task, by_sentence.shape[1])
    same_task = (task[:, None] == task[None, :]).astype(jnp.float32)
    is_demonstration = (1 - jnp.eye(len(task))) * success[None, :]
    return {
        "which_task": _mean(optax.softmax_cross_entropy_with_integer_labels(by_sentence, task), success),
        "own_sentence": _mean(_distance(by_sentence, progress[:, None]), own),
        "foreign_sentence": _mean(jax.nn.softplus(by_sentence), 1 - own),
        "own_video": _mean(_distance(by_video, progress[:, None]), is_demonstration * same_task),
        "foreign_video": _mean(jax.nn.softplus(by_video), is_demonstration * (1 - same_task)),
    }


def _distance(logit: Float[Array, "n m"], progress: Float[Array, "n 1"]) -> Float[Array, "n m"]:
    """Returns Huber's loss of logits that should grow linearly with progress, from -`LARGEST` to `LARGEST`.

    It is as sensitive between two failures that are far from success as near to it, which a logistic loss is not, so
    that a policy finds a slope everywhere. Successes may have larger logits, and episodes without progress smaller
    ones.
    """
    error = logit - LARGEST * (2 * progress - 1)
    error = jnp.where(progress >= 1, jnp.minimum(error, 0), error)
    return optax.huber_loss(jnp.where(progress <= 0, jnp.maximum(error, 0), error))


LARGEST = 4.0
"""The smallest logit of a success that costs nothing"""


def _mean(x: Array, weight: Array) -> Float[Array, ""]:
    return (x * weight).sum() / jnp.maximum(weight.sum(), 1)


def _vary_colours(key: Array, clips: Float[Array, "n t h w 24"]) -> Float[Array, "n t h w 24"]:
    """Changes contrast and brightness of each clip at random."""
    key_contrast, key_brightness = jax.random.split(key)
    shape = (clips.shape[0], 1, 1, 1, 1)
    return clips * (1 + 0.15 * jax.random.normal(key_contrast, shape)) + 0.05 * jax.random.normal(key_brightness, shape)


def fold(state: TrainingState) -> dict[str, Any]:
    """Returns the parameters of the encoder, with batch norms folded; see `embedding_norm` for the logits' scale."""
    return {"video": _fold(state.params["video"], state.batch_stats), "text": dict(state.params["text"])}


def embedding_norm(state: TrainingState) -> float:
    """Returns the length of embeddings for which their dot products are the logits of training, plus a constant."""
    return float(np.exp(state.params["log_scale"] / 2))


def _fold(params: dict[str, Any], stats: dict[str, Any]) -> dict[str, Any]:
    if "norm" in params:
        norm, running = (jax.tree.map(np.asarray, tree["norm"]) for tree in (params, stats))
        kernel = np.asarray(params["kernel"])
        return dict(fold_batch_norm(kernel, norm["scale"], norm["bias"], running["mean"], running["var"]))
    return {
        name: _fold(child, stats.get(name, {})) if isinstance(child, dict) else np.asarray(child)
        for name, child in params.items()
    }
