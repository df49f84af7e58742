"""S3D, the text-video model of HowTo100M (MIL-NCE), in Flax: the encoder that RoboCLIP's rewards come from.

`load_encoder` (converted weights) or `random_encoder` returns an `Encoder`. `embed_video` and `embed_text` map clips
and tokenized sentences to 512-vectors; the dot product of two of them is their similarity. These functions take
`Encoder.params` as an argument and are not jitted::

    encoder = load_encoder("weights/s3d")
    video = embed_video(encoder.params, clips)
    text = embed_text(encoder.params, tokenize(["robot closing green drawer"], encoder.vocabulary))
    similarity = video @ text.T

Sources: S3D (Xie et al. 2018, arXiv:1712.04851); MIL-NCE (Miech et al. 2020, arXiv:1912.06430).
"""

from rcjax.s3d.encoder import Encoder, load_encoder, save_encoder
from rcjax.s3d.layers import Graph
from rcjax.s3d.random import random_encoder
from rcjax.s3d.text import MAX_WORDS, TEXT_LAYERS, embed_text, text_intermediates, tokenize
from rcjax.s3d.video import (
    EMBEDDING_SIZE,
    VIDEO_LAYERS,
    embed_video,
    space_to_depth,
    video_intermediates,
)
from rcjax.s3d.weights import VOCABULARY_SIZE, fold_batch_norm, params_from_torch, torch_state_spec

__all__ = [
    "EMBEDDING_SIZE",
    "MAX_WORDS",
    "TEXT_LAYERS",
    "VIDEO_LAYERS",
    "VOCABULARY_SIZE",
    "Encoder",
    "Graph",
    "embed_text",
    "embed_video",
    "fold_batch_norm",
    "load_encoder",
    "params_from_torch",
    "random_encoder",
    "save_encoder",
    "space_to_depth",
    "text_intermediates",
    "tokenize",
    "torch_state_spec",
    "video_intermediates",
]
