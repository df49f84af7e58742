"""How well demonstrations describe tasks: their similarity with episodes that do a task better and worse.

A reward that guides has to rank a task's episodes as the true return does, and to be higher for the task's own
demonstration than for those of other tasks. This is figure 2 of RoboCLIP (arXiv:2310.07899), for any tasks, sentences
and videos. The paper does not say how its episodes of different quality were made; see `graded_episodes`.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata
from tqdm import tqdm

from rcjax import envs
from rcjax.config import VIEW_HEIGHT, TaskSpec, VideoConfig
from rcjax.curve_axes import label_demonstrations
from rcjax.demonstration import draw_episode, given_clips
from rcjax.encoders import Encoder, Network
from rcjax.envs.experts import Policy, run_policy
from rcjax.envs.mjx_env import choose_backend
from rcjax.prefixes import open_video, whole_clip
from rcjax.similarity import clip_config, embed_clips, read_sentences
from rcjax.taskspec import embed_spec
from rcjax.world import task_scene

EPISODE_LENGTH = 128  # control steps, as the paper's
BATCH = 4  # episodes that are drawn and embedded at a time
N_PERMUTATIONS = 10_000  # all of them if there are fewer
N_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class EmbeddedEpisodes:
    """Episodes of a task with what they were truly worth, or a video of which that is not known.

    `embedding` is [n D]; `true_return` and `success` are [n], or None of a video.
    """

    name: str
    embedding: Float[np.ndarray, "n D"]
    true_return: Float[np.ndarray, " n"] | None = None
    success: Bool[np.ndarray, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class OwnDemonstrations:
    """How far the demonstration i is that of row i, in a matrix with as many columns as rows.

    `hits` is the number of rows whose highest value is in their own column. `p_value` is the share of the permutations
    of the columns, the given order included, in which the mean of the rows' own values is as high.
    """

    hits: int
    p_value: float


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Episodes (rows, R) compared with demonstrations (columns, C). Correlations are NaN where a side is constant.

    `similarity` is the mean over the successful episodes, or over all of a row without a successful one.
    `spearman_p` is the share of permutations of the episodes that correlate as highly, and `spearman_low` and
    `spearman_high` are a 95 % bootstrap interval over the episodes.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    n_episodes: tuple[int, ...]
    n_successes: tuple[int | None, ...]
    similarity: Float[np.ndarray, "R C"]
    spearman: Float[np.ndarray, "R C"]
    pearson: Float[np.ndarray, "R C"]
    spearman_p: Float[np.ndarray, "R C"]
    spearman_low: Float[np.ndarray, "R C"]
    spearman_high: Float[np.ndarray, "R C"]

    @property
    def centred(self) -> Float[np.ndarray, "R C"]:
        """The similarity without the mean of each column: a demonstration that is close to everything gains nothing."""
        return self.similarity - self.similarity.mean(0)

    @property
    def is_paired(self) -> bool:
        """Whether each row has a demonstration of its own, that of the same index."""
        return len(self.rows) == len(self.columns)

    def own(self, name: str) -> OwnDemonstrations | None:
        """Returns how far the demonstrations fit their rows in the matrix `name`, such as "spearman".

        Returns None if they are not paired, if there is one alone, or if a value is NaN.
        """
        matrix = getattr(self, name)
        if not self.is_paired or len(self.rows) < 2 or np.isnan(matrix).any():
            return None
        return compare_with_own(matrix)


def compare_with_own(matrix: Float[np.ndarray, "R R"]) -> OwnDemonstrations:
    """Returns how often, and how surely, the highest values are on the diagonal."""
    n = len(matrix)
    hits = int((matrix.argmax(1) == np.arange(n)).sum())
    if math.factorial(n) <= N_PERMUTATIONS:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        draw = np.random.default_rng(0)
        orders = np.stack([np.arange(n), *(draw.permutation(n) for _ in range(N_PERMUTATIONS))])
    means = matrix[np.arange(n), orders].mean(1)
    return OwnDemonstrations(hits, float((means >= np.trace(matrix) / n - 1e-12).mean()))


def episode_video(network: Network, n_frames: int | None = None, size: int | None = None) -> VideoConfig:
    """Returns how an episode becomes a clip for this network; None means what it was made for.

    An encoder of single frames sees the last one, of the whole view, as CLIP does in RoboCLIP's ablation. Raises
    ValueError if the network does not take such clips, or if the frames do not divide an episode.
    """
    clip = clip_config(network, n_frames, size)
    if EPISODE_LENGTH % clip.n_frames:
        raise ValueError(
            f"frames={clip.n_frames} does not divide an episode of {EPISODE_LENGTH} control steps; give a power of two."
        )
    view = VIEW_HEIGHT if clip.n_frames == 1 else None
    stride = EPISODE_LENGTH // clip.n_frames
    return dataclasses.replace(clip, episode_length=EPISODE_LENGTH, frame_stride=stride, view=view)


def noisy_expert(act: Policy, n_episodes: int, seed: int = 0) -> Policy:
    """Returns a policy that acts in episode i as the expert `act` does, mixed with uniform noise.

    The actions are (1 - p) times the expert's, clipped to [-1, 1], plus p times the noise, with p growing from 0 in the
    first episode to 1 in the last one.
    """
    draw = np.random.default_rng(seed)
    noise_share = np.linspace(0, 1, n_episodes)[:, None]

    def policy(obs: np.ndarray) -> np.ndarray:
        action = np.clip(act(obs), -1, 1)
        return (1 - noise_share) * action + noise_share * draw.uniform(-1, 1, action.shape)

    return policy


def graded_episodes(
    task: str, n_episodes: int, encoder: Encoder, video: VideoConfig, seed: int = 0
) -> EmbeddedEpisodes:
    """Returns embedded episodes of the task from one start, from the expert's to random motion; see `noisy_expert`."""
    steps, backend = video.episode_length, choose_backend("auto")
    env, params = envs.make(task, seeds=range(seed, seed + 1), max_steps=steps, backend=backend)
    episodes = run_policy(env, params, noisy_expert(env.expert(), n_episodes, seed), [0] * n_episodes, steps)
    scene = task_scene(env, video)
    poses = (jax.tree.map(lambda x, i=i: x[:, i], episodes.poses) for i in range(n_episodes))
    clips = (draw_episode(scene, each, video) for each in poses)
    embedding = np.asarray(embed_clips(clips, encoder, video, BATCH))
    return EmbeddedEpisodes(env.name, embedding, episodes.reward.sum(0), np.asarray(episodes.success.any(0)))


def embed_file(path: str, encoder: Encoder, video: VideoConfig) -> EmbeddedEpisodes:
    """Returns the embedding of a video file as a row of its own. Raises ValueError if it cannot be read."""
    return EmbeddedEpisodes(path, np.asarray(embed_clips([whole_clip(open_video(path), video)], encoder, video, 1)))


def align_tasks(
    tasks: Sequence[str],
    videos: Sequence[str],
    specs: Sequence[TaskSpec],
    encoder: Encoder,
    video: VideoConfig,
    n_episodes: int,
    seed: int = 0,
) -> Alignment:
    """Compares episodes of the tasks, and videos, with demonstrations, and shows a progress bar meanwhile.

    Args:
        tasks: Names of the tasks; each is a row of `n_episodes` episodes (see `graded_episodes`).
        videos: Paths of videos; each is a row.
        specs: The demonstrations, which are the columns.
        encoder: What embeds all of them.
        video: How episodes become clips; see `episode_video`.
        n_episodes: The number of episodes of each task.
        seed: The seed of the episodes' start and noise, of the permutations and of the bootstrap.

    Raises:
        ValueError: There is no such task, a file cannot be read, or the encoder cannot read a sentence. All of that is
            found before any episode is run.
    """
    names = [envs.canonical_name(task) for task in tasks]
    read_sentences(specs, encoder)
    targets = [embed_spec(spec, given_clips(spec, video), encoder, video) for spec in specs]
    given = [embed_file(path, encoder, video) for path in videos]
    episodes = [graded_episodes(task, n_episodes, encoder, video, seed) for task in tqdm(names, desc="tasks")]
    return align([*episodes, *given], targets, label_demonstrations(specs), seed)


def align(
    rows: Sequence[EmbeddedEpisodes], targets: Sequence[Float[np.ndarray, "K D"]], labels: Sequence[str], seed: int = 0
) -> Alignment:
    """Compares the episodes of each row with each demonstration.

    Args:
        rows: The episodes.
        targets: The embedding of each demonstration, as `taskspec.embed_spec` returns it.
        labels: The name of each demonstration.
        seed: The seed of the permutations and of the bootstrap.
    """
    draw = np.random.default_rng(seed)
    similarities = [np.stack([(row.embedding @ target.T).max(1) for target in targets], 1) for row in rows]
    means = [_successful(row, values).mean(0) for row, values in zip(rows, similarities, strict=True)]
    ranks = [_correlate(row.true_return, values, draw) for row, values in zip(rows, similarities, strict=True)]
    return Alignment(
        rows=tuple(row.name for row in rows),
        columns=tuple(labels),
        n_episodes=tuple(len(row.embedding) for row in rows),
        n_successes=tuple(None if row.success is None else int(row.success.sum()) for row in rows),
        similarity=np.stack(means),
        **{name: np.stack([row[name] for row in ranks]) for name in ranks[0]},
    )


def _successful(row: EmbeddedEpisodes, values: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "m C"]:
    return values if row.success is None or not row.success.any() else values[row.success]


def _correlate(
    true_return: Float[np.ndarray, " n"] | None, values: Float[np.ndarray, "n C"], draw: np.random.Generator
) -> dict[str, Float[np.ndarray, " C"]]:
    """Returns the correlations of an `Alignment`'s row, by their names there."""
    n_columns = values.shape[1]
    if true_return is None or len(true_return) < 3:
        names = ("spearman", "pearson", "spearman_p", "spearman_low", "spearman_high")
        return {name: np.full(n_columns, np.nan) for name in names}
    n = len(true_return)
    spearman = correlation(_ranks(true_return[None])[0], _ranks(values.T))
    orders = np.argsort(draw.random((N_PERMUTATIONS, n)), axis=1)
    by_chance = correlation(_ranks(true_return[orders])[:, None], _ranks(values.T))
    drawn = draw.integers(n, size=(N_RESAMPLES, n))
    resampled = correlation(_ranks(true_return[drawn])[:, None], _ranks(np.moveaxis(values[drawn], 2, 1)))
    low, high = _percentiles(resampled)
    at_least = (by_chance >= spearman - 1e-12).sum(0)
    return {
        "spearman": spearman,
        "pearson": correlation(true_return, values.T),
        "spearman_p": np.where(np.isnan(spearman), np.nan, (1 + at_least) / (1 + N_PERMUTATIONS)),
        "spearman_low": low,
        "spearman_high": high,
    }


def _ranks(values: Float[np.ndarray, "*rest n"]) -> Float[np.ndarray, "*rest n"]:
    return np.asarray(rankdata(values, axis=-1))


def correlation(x: Float[np.ndarray, "*x n"], y: Float[np.ndarray, "*y n"]) -> Float[np.ndarray, "*xy"]:
    """Returns Pearson's correlation along the last axis, NaN where x or y is constant there."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-12, (x * y).sum(-1) / scale, np.nan)


def _percentiles(resampled: Float[np.ndarray, "B C"]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the 95 % intervals, of the resamples that are not constant; NaN if there are none."""
    columns = [column[~np.isnan(column)] for column in resampled.T]
    ends = [np.percentile(column, [2.5, 97.5]) if len(column) else np.full(2, np.nan) for column in columns]
    low, high = np.stack(ends, 1)
    return low, high


def own_sentences(tasks: Sequence[str]) -> list[TaskSpec]:
    """Returns the sentence that describes each task, as `rcjax train` takes it by default."""
    return [TaskSpec(text=(envs.task_class(task).prompt,)) for task in tasks]


def to_json(alignment: Alignment) -> dict[str, Any]:
    """Returns the alignment as JSON takes it; NaN becomes None."""
    values: dict[str, Any] = {"rows": alignment.rows, "columns": alignment.columns}
    values |= {"episodes": alignment.n_episodes, "successes": alignment.n_successes}
    for name in ("similarity", "centred", "spearman", "pearson", "spearman_p", "spearman_low", "spearman_high"):
        matrix = getattr(alignment, name)
        values[name] = [[None if np.isnan(x) else float(x) for x in row] for row in matrix]
    for name in ("similarity", "centred", "spearman"):
        own = alignment.own(name)
        values[f"own_{name}"] = None if own is None else dataclasses.asdict(own)
    return values
