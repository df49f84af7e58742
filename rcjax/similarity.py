"""The similarity of a video with demonstrations: the video reward of an episode that looks like the video."""

import itertools
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from rcjax.checks import require_range, short_repr
from rcjax.config import TaskSpec, Term, VideoConfig
from rcjax.embedding import embed_frames
from rcjax.encoders import RANDOM, SMALL, Encoder, Network, load_encoder
from rcjax.prefixes import Video, open_video, prefix_clips, whole_clip
from rcjax.rewards.video import video_similarity
from rcjax.taskspec import combine_terms, describe_unknown_words, embed_sentence, require_finite, require_reader
from rcjax.video_io import ANIMATION_SUFFIXES, VIDEO_SUFFIXES, Frames

Task: TypeAlias = str | os.PathLike[str] | TaskSpec
T = TypeVar("T")

BATCH = 4  # clips that are embedded at a time if there are many


@overload
def reward_of(
    video: str | os.PathLike[str] | Frames, task: Task, encoder: str | os.PathLike[str] | Encoder = ...
) -> float: ...
@overload
def reward_of(
    video: str | os.PathLike[str] | Frames, task: Sequence[Task], encoder: str | os.PathLike[str] | Encoder = ...
) -> list[float]: ...
def reward_of(
    video: str | os.PathLike[str] | Frames,
    task: Task | Sequence[Task],
    encoder: str | os.PathLike[str] | Encoder = SMALL,
) -> float | list[float]:
    """Returns the video reward of a video: the dot product of its embedding with that of the task's demonstration.

    It is what `rcjax train` would pay an episode that looks like the video, and what `rcjax reward` prints. Words that
    the encoder does not know are named in a warning.

    Example:
        rcjax.reward_of("episode.mp4", "robot closing green drawer")
        rcjax.reward_of(frames, ["robot closing green drawer", "human.gif"], encoder="weights/s3d")

    Args:
        video: The path of a video or of a folder of pictures, or frames uint8 [F H W 3] of equal duration.
        task: The demonstration, or a sequence of them. A string that is an existing path or ends like a video file is a
            video, and any other string is a sentence; a `Path` or a `TaskSpec` says which it is.
        encoder: The name of an encoder that comes with rcjax (`small`), the folder of an encoder, or an `Encoder`,
            which saves loading it at every call. Videos are resampled to the clips that it was made for.

    Returns:
        A number, or for a sequence of demonstrations a list with one number for each.

    Raises:
        ValueError: There is no demonstration, a file is missing or unreadable, the array has another shape or dtype,
            there is no such encoder, it knows no word of a sentence or reads none at all, or a number is not finite.
    """
    tasks = task if isinstance(task, Sequence) and not isinstance(task, str) else [task]
    specs = [as_spec(each) for each in tasks]
    if not specs:
        raise ValueError("there is nothing to compare the video with; give at least one sentence or video as task.")
    loaded = encoder if isinstance(encoder, Encoder) else load_judge(encoder)
    for notice in read_sentences(specs, loaded):
        warnings.warn(notice, stacklevel=2)
    values = similarities(open_video(video), specs, loaded, clip_config(loaded.network)).tolist()
    return values if tasks is task else values[0]


def as_spec(task: Task) -> TaskSpec:
    """Returns the demonstration that a string, a path or a `TaskSpec` means, as `reward_of` explains."""
    if isinstance(task, TaskSpec):
        return task
    if not isinstance(task, str | os.PathLike):
        raise ValueError(
            f"the demonstration {short_repr(task)} is a {type(task).__name__}; give a sentence, the path of a video, a "
            "TaskSpec, or a list of them."
        )
    ends_as_video = os.path.splitext(task)[1].lower() in (".gif", *VIDEO_SUFFIXES, *ANIMATION_SUFFIXES)
    if isinstance(task, os.PathLike) or os.path.exists(task) or ends_as_video:
        return TaskSpec(video=(os.fspath(task),))
    return TaskSpec(text=(task,))


def load_judge(name_or_path: str | os.PathLike[str]) -> Encoder:
    """Returns the encoder of this name or folder. Raises ValueError if there is none, and for a random one."""
    if str(name_or_path) == RANDOM:
        raise ValueError(
            f"the encoder {RANDOM} cannot judge videos: it has no text tower, and is calibrated in a task's scene; "
            f"give {SMALL}, a folder of converted weights, or the folder `encoder` of a run."
        )
    return load_encoder(name_or_path)


def clip_config(network: Network, n_frames: int | None = None, size: int | None = None) -> VideoConfig:
    """Returns how videos become clips for this network; None means the number or the size that it was made for.

    Raises ValueError if the network does not take such clips.
    """
    default_frames, default_size = network.default_clip()
    n_frames, size = n_frames or default_frames, size or default_size
    require_range("frames", n_frames, 1)
    config = VideoConfig(episode_length=n_frames, frame_stride=1, size=size)
    network.check_clips(config.n_frames, config.size, config.pixel_scale)
    return config


def read_sentences(specs: Iterable[TaskSpec], encoder: Encoder) -> list[str]:
    """Returns a notice for each sentence with words that the encoder does not know.

    Raises ValueError for a sentence of which it knows no word, and if it reads no sentences at all.
    """
    texts = dict.fromkeys(text for spec in specs for text in spec.texts)
    notices = [describe_unknown_words(text, require_reader(text, encoder)) for text in texts]
    return [notice for notice in notices if notice]


def similarities(
    video: Video, specs: Sequence[TaskSpec], encoder: Encoder, config: VideoConfig
) -> Float[np.ndarray, " M"]:
    """Returns the similarity of a whole video with each demonstration; raises like `prefix_similarities`."""
    return prefix_similarities(video, np.array([video.n_frames]), specs, encoder, config)[:, -1]


def prefix_similarities(
    video: Video, lengths: Int[np.ndarray, " K"], specs: Sequence[TaskSpec], encoder: Encoder, config: VideoConfig
) -> Float[np.ndarray, "M K"]:
    """Returns the similarity of each prefix of the video, of `lengths` frames, with each demonstration.

    All files are read before anything is compiled. Raises ValueError for a file that is missing or unreadable, a
    sentence that the encoder cannot read, and an embedding or a similarity that is not finite.
    """
    read_sentences(specs, encoder)
    prefixes = prefix_clips(video, lengths, config)
    videos = list(dict.fromkeys(path for spec in specs for path in spec.video + spec.minus_video))
    shown = [whole_clip(open_video(path), config) for path in videos]
    embedded = embed_clips(itertools.chain(shown, prefixes), encoder, config, batch=1 if len(lengths) == 1 else BATCH)
    of_files = dict(zip(videos, np.asarray(embedded[: len(shown)]), strict=True))
    targets = [
        combine_terms(spec, [_embed_term(term, of_files, encoder, config) for term in spec.terms]) for spec in specs
    ]
    embedding = require_finite(embedded[len(shown) :], "the video's embedding", encoder, config)
    values = jnp.stack([jnp.max(video_similarity(embedding, jnp.asarray(target)), axis=-1) for target in targets])
    return np.asarray(require_finite(values, "the similarity of the two embeddings", encoder, config))


def _embed_term(
    term: Term, of_files: Mapping[str, Float[np.ndarray, " D"]], encoder: Encoder, config: VideoConfig
) -> Float[np.ndarray, " D"]:
    embedding = of_files[term.source] if term.kind == "video" else np.asarray(embed_sentence(term.source, encoder))
    return np.asarray(require_finite(jnp.asarray(embedding), "the demonstration's embedding", encoder, config))


def embed_clips(
    clips: Iterable[UInt8[np.ndarray, "F H W 3"]], encoder: Encoder, config: VideoConfig, batch: int
) -> Float[jax.Array, "n D"]:
    """Returns the embedding of each clip. One program that embeds `batch` clips at a time is compiled for all.

    The last batch is filled up with copies of its last clip, whose embeddings are dropped.
    """
    embed = jax.jit(embed_frames, static_argnums=(0, 3))
    params = {"video": encoder.params["video"]}
    embedded = []
    for group in _groups(clips, batch):
        filled = group + [group[-1]] * (batch - len(group))
        embedded.append(embed(encoder.network, params, jnp.asarray(np.stack(filled)), config)[: len(group)])
    return jnp.concatenate(embedded)


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(itertools.islice(iterator, size)):
        yield group
