"""How many episodes are drawn and embedded at a time: as many as a device's memory holds."""

import jax

from rcjax.config import VideoConfig
from rcjax.embedding import activation_dtype

CPU_BUDGET = 1 << 28  # bytes; larger micro-batches do not fit the caches and take longer
ACCELERATOR_SHARE = 0.4  # of a device's memory
MOST_EPISODES = 32  # in a micro-batch; more do not make it faster
# The temporary memory that each episode of a micro-batch takes: bytes per pixel of its frames for drawing, and
# multiples of the output of S3D's first convolution for embedding. XLA plans 113 to 130 bytes per pixel for TPUs (v5e,
# v4), where S3D computes in bfloat16, and 65 for a CPU; see benchmarks/README.md.
DRAWING_BYTES_PER_PIXEL = 82
S3D_OUTPUTS = 3.0
SHADOW_BYTES_PER_FRAME = 16 << 20  # a shadow map of 1024x1024 and its copies; estimated, not measured


def episode_bytes(video: VideoConfig) -> float:
    """Returns the bytes of temporary memory that drawing and embedding one episode takes."""
    pixels = video.n_frames * video.size**2
    first_output = pixels / 8 * 64 * activation_dtype(video).itemsize
    shadows = SHADOW_BYTES_PER_FRAME * video.n_frames * video.shadows
    return DRAWING_BYTES_PER_PIXEL * pixels * video.samples + shadows + S3D_OUTPUTS * first_output


def choose_micro_batch(wanted: int | None, n_episodes: int, video: VideoConfig) -> int:
    """Returns how many of a device's `n_episodes` to draw and embed at a time.

    That is `wanted`, or the largest divisor that fits the device's memory if `wanted` is None. Raises ValueError if
    `wanted` does not divide `n_episodes`.
    """
    if wanted is not None:
        if n_episodes % wanted:
            raise ValueError(
                f"micro_batch={wanted} does not divide the {n_episodes} episodes of a device; "
                "leave it out to have it chosen, or use another number of environments or devices."
            )
        return wanted
    stats = jax.local_devices()[0].memory_stats() or {}
    budget = ACCELERATOR_SHARE * stats["bytes_limit"] if "bytes_limit" in stats else CPU_BUDGET
    fitting = min(MOST_EPISODES, max(1, int(budget / episode_bytes(video))))
    return max(n for n in range(1, fitting + 1) if n_episodes % n == 0)
