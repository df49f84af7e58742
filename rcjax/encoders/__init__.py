"""Encoders: networks that turn videos and sentences into embeddings, whose dot product is the reward.

`load_encoder` returns the bundled encoder (`small`) or one of a checkpoint, and `random_encoder` makes one without
training. What an encoder can do is in its `network` (`rcjax.encoders.network.Network`)::

    encoder = load_encoder("small")
    video = encoder.network.embed_video(encoder.params, clips, dtype=jnp.float32, pixel_scale=1 / 255, graph="auto")
    text = encoder.network.embed_text(encoder.params, encoder.tokenizer.tokenize(["robot closing green drawer"]))
    similarity = video @ text.T
"""

from rcjax.encoders.encoder import BUNDLED, NAMED, RANDOM, SMALL, Encoder, load_encoder, save_encoder
from rcjax.encoders.network import Graph, Network, Params, Tokenizer
from rcjax.encoders.random import random_encoder

__all__ = [
    "BUNDLED",
    "NAMED",
    "RANDOM",
    "SMALL",
    "Encoder",
    "Graph",
    "Network",
    "Params",
    "Tokenizer",
    "load_encoder",
    "random_encoder",
    "save_encoder",
]
