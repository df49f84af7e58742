"""A tiny encoder that reads a few words, for tests of everything around encoders: it compiles in a few seconds.

It is an S3D with few channels, some blocks, random weights, and embeddings of the length `NORM`. It takes 8 frames of
32x32, as `tiny_config` has them. Its numbers mean nothing.
"""

import dataclasses
import math
import zlib

import jax
import numpy as np

from rcjax.encoders import Encoder, Params, random_encoder
from rcjax.encoders.s3d import S3D, Architecture, WordTokenizer

NORM = 2.0
ARCHITECTURE = Architecture(
    stem=(4, 6, 8),
    blocks=(("mixed_3c", (4, 6, 4, 2, 4, 4)), ("mixed_4f", (2, 4, 6, 3, 5, 7)), ("mixed_5b", (6, 2, 4, 4, 2, 4))),
    embedding_size=10,
    word_embedding_size=6,
    hidden_size=12,
    embedding_norm=NORM,
)
RANDOM = dataclasses.replace(ARCHITECTURE, embedding_norm=None, embedding_size=512)  # for `random_encoder`
NETWORK = S3D(ARCHITECTURE, n_frames=8, size=32)
WORDS = ("robot", "closing", "green", "drawer", "a", "the")
TOKENIZER = WordTokenizer({word: i for i, word in enumerate(WORDS, start=1)})


def random_params(network: S3D = NETWORK, tokenizer: WordTokenizer | None = TOKENIZER) -> Params:
    """Returns host arrays with the shapes that the network states, whose values depend on their names alone."""
    params: dict = {}
    for path, (shape, dtype) in network.param_specs(tokenizer).items():
        *modules, name = path.split("/")
        draw = np.random.RandomState(zlib.crc32(path.encode())).standard_normal(shape)
        scale = 1.0 if name == "word_embd" else math.sqrt(2 / max(1, math.prod(shape[:-1])))
        leaf = (0.2 * draw if name == "bias" else draw * scale).astype(dtype)
        place = params
        for module in modules:
            place = place.setdefault(module, {})
        place[name] = leaf
    return params


def make_encoder(network: S3D = NETWORK, tokenizer: WordTokenizer | None = TOKENIZER) -> Encoder:
    """Returns the encoder with `random_params`; without a tokenizer it has no text tower."""
    return Encoder(network, random_params(network, tokenizer), tokenizer, "tiny")


def make_random_encoder(seed: int = 0) -> Encoder:
    """Returns a narrow random encoder, calibrated on noise, whose embeddings have S3D's 512 numbers."""
    clips = np.random.default_rng(0).integers(0, 256, (4, 2, 32, 32, 3), np.uint8)
    return random_encoder(jax.random.key(seed), clips, provenance="noise", architecture=RANDOM)
