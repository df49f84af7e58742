"""Evaluation of a trained policy, and the similarity of video files with a task specification."""

import sys
from pathlib import Path

from rcjax.checkpoints import checkpoints_path, load_newest_intact, require_matching_state, restore_state
from rcjax.config import TaskSpec, VideoConfig
from rcjax.loop import ScoredEpisodes, state_shapes
from rcjax.program import Program, Rows, require_machine
from rcjax.reward import video_similarity
from rcjax.s3d import Encoder
from rcjax.storage import RunFolder
from rcjax.taskspec import embed_clip, embed_spec, require_finite
from rcjax.video_io import read_clip
from rcjax.world import build_world


def evaluate_run(run: RunFolder) -> tuple[Program, Rows, ScoredEpisodes]:
    """Runs the mean of each seed's newest policy from each of the first `n_envs` evaluation starts.

    Nothing is written, so another process may train the run at the same time.

    Returns:
        The program, the metrics of each seed with the prefix `eval_`, and the episodes.

    Raises:
        ValueError: The run has no checkpoint or no intact one, the checkpoint does not fit the config, or the episodes
            have numbers that are not finite.
    """
    require_machine(run.config, None)
    checkpoint = load_newest_intact(run, _warn)
    if checkpoint is None:
        raise ValueError(
            f"{checkpoints_path(run)} has no checkpoint, because the run stopped before its first one; train a new run."
        )
    target, encoder, world = run.target(), run.encoder(), build_world(run.config)
    require_matching_state(run, *checkpoint, like=state_shapes(run.config, world.env))
    program = Program(run.config, world, encoder, target)
    _, rows, scored = program.evaluate(restore_state(checkpoint[1], program.initial_state()))
    return program, rows, scored


def _warn(message: str) -> None:
    print(f"rcjax: {message}", file=sys.stderr)


def similarity_of_files(path: Path, spec: TaskSpec, encoder: Encoder, video: VideoConfig) -> float:
    """Returns the video reward of an episode that looks like the video at `path`.

    Args:
        path: A GIF, a video file or a folder of pictures.
        spec: The demonstration to compare it with.
        encoder: The video encoder.
        video: The number and size of the frames that the encoder sees.

    Raises:
        ValueError: A file is unreadable, or an embedding or the product of the two is not finite.
    """
    clip = read_clip(path, video.n_frames, video.size)
    demonstration = read_clip(spec.video, video.n_frames, video.size) if spec.video else None
    target = embed_spec(spec, demonstration, encoder, video)
    embedding = require_finite(embed_clip(clip, encoder, video), "the video's embedding", encoder, video)
    similarity = video_similarity(embedding[None], target)[0]
    return float(require_finite(similarity, "the similarity of the two embeddings", encoder, video))
