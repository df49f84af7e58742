"""What a trained policy does, and what a video is worth."""

from pathlib import Path

from rcjax.config import TaskSpec, VideoConfig
from rcjax.loop import Judged
from rcjax.program import Program, Rows
from rcjax.reward import video_similarity
from rcjax.s3d import Encoder
from rcjax.storage import Checkpoints, RunFolder
from rcjax.taskspec import embed_clip, embed_spec, require_finite
from rcjax.video_io import read_clip
from rcjax.world import build_world


def evaluate_run(run: RunFolder) -> tuple[Program, Rows, Judged]:
    """The newest policies' deterministic episodes, one of each seed from each of the first `n_envs` evaluation starts.

    Raises ValueError if the run has no checkpoint.
    """
    world = build_world(run.config)
    program = Program(run.config, world, run.encoder(), run.target())
    with Checkpoints(run) as checkpoints:
        state = checkpoints.restore(program.initial_state())
    _, rows, judged = program.evaluate(state)
    return program, rows, judged


def similarity_of_files(path: Path, spec: TaskSpec, encoder: Encoder, video: VideoConfig) -> float:
    """The video reward of an episode that looks like the video at `path`.

    Raises ValueError on unreadable input, and where an embedding or their product is not finite.
    """
    judged = read_clip(path, video.n_frames, video.size)
    demonstration = read_clip(spec.video, video.n_frames, video.size) if spec.video else None
    target = embed_spec(spec, demonstration, encoder, video)
    embedding = require_finite(embed_clip(judged, encoder, video), "the video's embedding", encoder, video)
    similarity = video_similarity(embedding[None], target)[0]
    return float(require_finite(similarity, "the similarity of the two embeddings", encoder, video))
