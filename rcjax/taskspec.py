"""Task specifications: the embedding of a sentence or a video, with which the reward compares episodes."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8

from rcjax.config import TaskSpec, VideoConfig
from rcjax.embedding import embed_frames
from rcjax.encoders import SMALL, Encoder, Tokenizer
from rcjax.messages import enumerate_names, one_line, quote


def embed_spec(
    spec: TaskSpec, clip: UInt8[np.ndarray, "F H W 3"] | None, encoder: Encoder, video: VideoConfig
) -> Float[Array, " D"]:
    """Returns the target z_d, the embedding of the demonstration.

    `clip` is the demonstration if that is a video. Raises ValueError for a sentence that the encoder cannot read, and
    for a target that is not finite.
    """
    if spec.text is not None:
        return require_finite(embed_sentence(spec.text, encoder), "the sentence's embedding", encoder, video)
    if clip is None:
        raise ValueError("a video specification needs its clip; make it with given_clip or expert_clip.")
    return require_finite(embed_clip(clip, encoder, video), "the demonstration's embedding", encoder, video)


def require_finite(value: Array, what: str, encoder: Encoder, video: VideoConfig) -> Array:
    """Returns `value`. Raises ValueError if some of it is not finite; `what` names it in the message."""
    if not np.isfinite(np.asarray(value)).all():
        raise ValueError(
            f"{what} by the encoder ({one_line(encoder.provenance, 200)}) is not finite: its weights, or pixels times "
            f"pixel_scale={video.pixel_scale:g}, are too large; convert the released weights with `python -m "
            "weights_convert`, and give pixels of 0 to 1 or 0 to 255."
        )
    return value


def embed_clip(clip: UInt8[np.ndarray, "F H W 3"], encoder: Encoder, video: VideoConfig) -> Float[Array, " D"]:
    """Returns the embedding of one clip."""
    embed = jax.jit(embed_frames, static_argnums=(0, 3))
    return embed(encoder.network, {"video": encoder.params["video"]}, jnp.asarray(clip)[None], video)[0]


def require_reader(text: str, encoder: Encoder | None) -> Tokenizer:
    """Returns the encoder's tokenizer.

    Raises ValueError if the encoder has none, is None (randomly initialised), or knows no word of `text`.
    """
    if encoder is None or encoder.tokenizer is None:
        which = (
            "a randomly initialised S3D" if encoder is None else f"the encoder ({one_line(encoder.provenance, 200)})"
        )
        raise ValueError(
            f"{which} has no vocabulary, so it cannot read {quote(text, 100)}; give --encoder {SMALL} or converted "
            "weights (see `python -m weights_convert --help`), or use a video as the demonstration."
        )
    encoder.tokenizer.tokenize([text])
    return encoder.tokenizer


def describe_unknown_words(text: str, tokenizer: Tokenizer) -> str:
    """Returns a notice that names the words of `text` that the encoder does not know, or "" if it knows all."""
    unknown = [quote(word, 30) for word in tokenizer.unknown_words(text)]
    if not unknown:
        return ""
    return (
        f"The encoder does not know {enumerate_names(unknown, 8)}, and reads the sentence {quote(text, 100)} without."
    )


def embed_sentence(text: str, encoder: Encoder) -> Float[Array, " D"]:
    """Returns the embedding of a sentence by the text tower. Raises ValueError as `require_reader` does."""
    ids = require_reader(text, encoder).tokenize([text])
    return encoder.network.embed_text(encoder.params, jnp.asarray(ids))[0]
