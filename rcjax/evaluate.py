"""What a trained policy does, and what a video is worth."""

import sys
from pathlib import Path

from rcjax.checkpoints import checkpoints_path, newest_intact, refuse_misfit, restored
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
    """The newest policies' deterministic episodes, one of each seed from each of the first `n_envs` evaluation starts.

    The run may be trained meanwhile: nothing is written. Raises ValueError if it has no checkpoint, none that is
    intact and fits its config, or a policy whose episodes have numbers that are not finite.
    """
    require_machine(run.config, None)
    checkpoint = newest_intact(run, _warn)
    if checkpoint is None:
        raise ValueError(
            f"{checkpoints_path(run)} holds no checkpoint; the run stopped before its first one, train anew."
        )
    target, encoder, world = run.target(), run.encoder(), build_world(run.config)
    refuse_misfit(run, *checkpoint, like=state_shapes(run.config, world.env))
    program = Program(run.config, world, encoder, target)
    _, rows, scored = program.evaluate(restored(checkpoint[1], program.initial_state()))
    return program, rows, scored


def _warn(message: str) -> None:
    print(f"rcjax: {message}", file=sys.stderr)


def similarity_of_files(path: Path, spec: TaskSpec, encoder: Encoder, video: VideoConfig) -> float:
    """The video reward of an episode that looks like the video at `path`.

    Raises ValueError on unreadable input, and where an embedding or their product is not finite.
    """
    clip = read_clip(path, video.n_frames, video.size)
    demonstration = read_clip(spec.video, video.n_frames, video.size) if spec.video else None
    target = embed_spec(spec, demonstration, encoder, video)
    embedding = require_finite(embed_clip(clip, encoder, video), "the video's embedding", encoder, video)
    similarity = video_similarity(embedding[None], target)[0]
    return float(require_finite(similarity, "the similarity of the two embeddings", encoder, video))
