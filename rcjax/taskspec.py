"""Task specifications: the embedding of a sentence or a video, with which the reward compares episodes."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8

from rcjax.config import TaskSpec, VideoConfig
from rcjax.embedding import embed_frames
from rcjax.messages import one_line, quote
from rcjax.s3d import Encoder, embed_text, tokenize


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
    return jax.jit(embed_frames, static_argnums=2)(encoder.params, jnp.asarray(clip)[None], video)[0]


def require_vocabulary(text: str, encoder: Encoder | None) -> dict[str, int]:
    """Returns the encoder's vocabulary.

    Raises ValueError if the encoder has none, is None (randomly initialised), or knows no word of `text`.
    """
    if encoder is None or encoder.vocabulary is None:
        which = (
            "a randomly initialised S3D" if encoder is None else f"the encoder ({one_line(encoder.provenance, 200)})"
        )
        raise ValueError(
            f"{which} has no vocabulary, so it cannot read {quote(text, 100)}; give converted weights with --encoder "
            "(see `python -m weights_convert --help`), or a --video."
        )
    tokenize([text], encoder.vocabulary)
    return encoder.vocabulary


def embed_sentence(text: str, encoder: Encoder) -> Float[Array, " D"]:
    """Returns the embedding of a sentence by the text tower. Raises ValueError as `require_vocabulary` does."""
    ids = tokenize([text], require_vocabulary(text, encoder))
    return embed_text(encoder.params, jnp.asarray(ids))[0]
