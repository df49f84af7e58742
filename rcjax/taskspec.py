"""Task specifications: the embeddings of sentences and videos, with which the reward compares episodes."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, UInt8

from rcjax.config import TaskSpec, Term, VideoConfig
from rcjax.embedding import embed_frames
from rcjax.encoders import SMALL, Encoder, Tokenizer
from rcjax.messages import enumerate_names, one_line, quote


def embed_spec(
    spec: TaskSpec, clips: Mapping[str, UInt8[np.ndarray, "F H W 3"]], encoder: Encoder, video: VideoConfig
) -> Float[np.ndarray, "K D"]:
    """Returns the targets z_d: the embeddings of the demonstrations, combined as `combine_terms` does.

    `clips` has the clip of each video by the video's name in `spec`. Raises ValueError for a sentence that the encoder
    cannot read, and for an embedding that is not finite.
    """
    embeddings = []
    for term in spec.terms:
        if term.kind == "text":
            embedding, what = embed_sentence(term.source, encoder), "the sentence's embedding"
        else:
            embedding, what = embed_clip(clips[term.source], encoder, video), "the demonstration's embedding"
        embeddings.append(np.asarray(require_finite(embedding, what, encoder, video)))
    return combine_terms(spec, embeddings)


def combine_terms(spec: TaskSpec, embeddings: Sequence[Float[np.ndarray, " D"]]) -> Float[np.ndarray, "K D"]:
    """Returns the targets, given the embedding of each of `spec.terms`.

    An episode is paid the largest similarity with a target. As similarities are linear in the target, the sum or the
    mean over several demonstrations is the similarity with a single target; only for their maximum there are several.
    """
    signed = np.stack([term.sign * embedding for term, embedding in zip(spec.terms, embeddings, strict=True)])
    if spec.combine == "max":
        return signed
    return (signed.sum(0) if spec.combine == "sum" else signed.mean(0))[None]


def describe_terms(terms: Iterable[Term], name: Callable[[Term], str], combine: str = "sum") -> str:
    """Returns the demonstrations by their names, such as "press.mp4 - “red button”", or "mean of “a”, “b”"."""
    terms = list(terms)
    if len(terms) > 1 and combine != "sum":
        return f"{combine} of {', '.join(name(term) for term in terms)}"
    signs = [" - " if term.sign < 0 else " + " for term in terms]
    return "".join(sign + name(term) for sign, term in zip(signs, terms, strict=True)).removeprefix(" + ")


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
