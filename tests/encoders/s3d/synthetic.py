"""A synthetic S3D state dict and synthetic clips, made with NumPy only, and therefore the same on every machine.

With plain random weights all clips have nearly the same embedding, so that an error in a port would not be noticed.
Therefore the clips have structure, batch-norm biases are about 1, and running statistics come from a forward pass over
such clips. The PyTorch reference computed them once (`tests/generators/s3d.py`), and they are stored in
tests/data/s3d_recorded.npz.
"""

import math
import zlib
from pathlib import Path

import numpy as np

from rcjax.encoders.s3d import torch_state_spec

RECORDED = Path(__file__).parents[2] / "data" / "s3d_recorded.npz"
WORDS = [
    "robot",
    "closing",
    "green",
    "drawer",
    "black",
    "box",
    "pushing",
    "red",
    "button",
    "don't",
    "the",
    "a",
]
CLIP_SHAPE = (20, 50, 66)  # T, H, W; every pool sees an odd size on every axis
STATISTICS = ("running_mean", "running_var")


def random_state(vocabulary_size: int = len(WORDS)) -> dict[str, np.ndarray]:
    """Returns every tensor of the state dict; means and variances of batch norms are 0 and 1.

    The random numbers come from RandomState, whose streams never change.
    """
    state = {}
    for name, (shape, dtype) in torch_state_spec(vocabulary_size).items():
        draw = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape) * 2 - 1
        if dtype == "int64":
            state[name] = np.array(1000, np.int64)
        elif name.endswith("running_mean"):
            state[name] = np.zeros(shape, np.float32)
        elif name.endswith("running_var"):
            state[name] = np.ones(shape, np.float32)
        elif ".bn" in name:  # weight in 0.6-1.4, bias in 0.8-1.2
            state[name] = (1 + draw * (0.4 if name.endswith("weight") else 0.2)).astype(np.float32)
        elif len(shape) == 5:
            state[name] = (draw * math.sqrt(6 / math.prod(shape[1:]))).astype(np.float32)
        elif len(shape) == 2 and "word_embd" not in name:
            state[name] = (draw * math.sqrt(3 / shape[1])).astype(np.float32)
        else:
            state[name] = draw.astype(np.float32)
    return state


def calibrated_state(vocabulary_size: int = len(WORDS)) -> dict[str, np.ndarray]:
    """Returns `random_state` with the recorded statistics."""
    state = random_state(vocabulary_size)
    names = statistics_names()
    with np.load(RECORDED) as recorded:
        parts = np.split(recorded["statistics"], np.cumsum([state[name].size for name in names])[:-1])
    return state | dict(zip(names, parts, strict=True))


def statistics_names() -> list[str]:
    """Returns the names of the batch norms' statistics in the order in which they are recorded."""
    return [name for name in torch_state_spec(1) if name.endswith(STATISTICS)]


def structured_clips(n: int, t: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    """Returns uint8 clips of a coloured box that moves over a shaded background, with integer arithmetic only."""
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:h, :w]
    clips = np.empty((n, t, h, w, 3), np.uint8)
    for clip in clips:
        background, colour = random.randint(0, 256, (2, 3))
        (top, left), (down, right) = random.randint(0, 60, 2), random.randint(-30, 31, 2)
        height, width = random.randint(20, 50, 2)
        shade = 60 + 40 * columns // w
        for k, frame in enumerate(clip):  # percent of the frame's size
            y, x = top + down * k // t, left + right * k // t
            inside = (abs(200 * rows // h - 2 * y - height) < height) & (
                abs(200 * columns // w - 2 * x - width) < width
            )
            frame[:] = np.where(inside[..., None], colour, background) * shade[..., None] // 100
    return clips


def sample_positions(size: int) -> np.ndarray:
    """Returns the 256 positions of a flattened layer that are recorded."""
    return np.random.RandomState(size % 2**32).randint(0, size, 256)
