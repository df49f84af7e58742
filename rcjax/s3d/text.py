"""The text tower: sentences to 512-vectors.

A word embedding, a linear map with ReLU, the maximum over words, and a linear map (Miech et al. 2020,
arXiv:1912.06430, section 3.3).
"""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, Int32

from rcjax.messages import enumerate_names, quote
from rcjax.precision import in_32_bits
from rcjax.s3d.video import EMBEDDING_SIZE

MAX_WORDS = 16
WORD_SIZE = 300
HIDDEN_SIZE = 2048
TEXT_LAYERS = ("word_embd", "fc1", "max", "fc2")


class TextTower(nn.Module):
    """Word ids to embeddings. `words` is the number of rows of the word table, the padding row 0 included.

    Padding is not masked: row 0 is not zero in the released weights and takes part in the maximum.
    """

    words: int

    @nn.compact
    def __call__(self, token_ids: Int[Array | np.ndarray, "n words"]) -> Float[Array, "n 512"]:
        table = self.param("word_embd", nn.initializers.normal(1.0), (self.words, WORD_SIZE))
        x = table[token_ids]
        self.sow("intermediates", "word_embd_out", x)
        x = nn.relu(nn.Dense(HIDDEN_SIZE, precision=lax.Precision.HIGHEST, name="fc1")(x))
        self.sow("intermediates", "fc1_out", x)
        x = x.max(axis=1)
        self.sow("intermediates", "max_out", x)
        x = nn.Dense(EMBEDDING_SIZE, precision=lax.Precision.HIGHEST, name="fc2")(x)
        self.sow("intermediates", "fc2_out", x)
        return x


@in_32_bits
def embed_text(params: Mapping[str, Any], token_ids: Int[Array | np.ndarray, "n 16"]) -> Float[Array, "n 512"]:
    """S3D's embedding of each sentence, float32 and not normalised. `token_ids` come from `tokenize`.

    Raises ValueError if `params` (an `Encoder.params`) has no text tower.
    """
    return cast(Array, _text_tower(params).apply({"params": params["text"]}, token_ids))


def text_intermediates(
    params: Mapping[str, Any], token_ids: Int[Array | np.ndarray, "n 16"]
) -> collections.OrderedDict[str, Array]:
    """The output of every layer in `TEXT_LAYERS`, in order; `fc1` is after its ReLU."""
    _, state = _text_tower(params).apply({"params": params["text"]}, token_ids, mutable=["intermediates"])
    seen = cast(dict[str, Any], state["intermediates"])
    return collections.OrderedDict((str(name), seen[f"{name}_out"][0]) for name in TEXT_LAYERS)


def tokenize(sentences: Sequence[str], vocabulary: Mapping[str, int] | None) -> Int32[np.ndarray, "n 16"]:
    """Word ids of each sentence, padded with 0. Host function.

    Sentences are lower-cased and split by the regular expression [\\w']+; words not in `vocabulary` (an
    `Encoder.vocabulary`) are dropped, and words after the 16th known one are cut.

    Raises ValueError for a sentence of which no word is known: all such sentences would have one and the same
    embedding. And if `vocabulary` is None.
    """
    if vocabulary is None:
        raise ValueError(
            "got text, but this encoder has no vocabulary: a random one has no text tower; give a video as "
            "task specifier, or convert the HowTo100M weights with `python -m weights_convert`."
        )
    sentences = [sentences] if isinstance(sentences, str) else sentences
    ids = np.zeros((len(sentences), MAX_WORDS), np.int32)
    for row, sentence in zip(ids, sentences, strict=True):
        words = re.findall(r"[\w']+", sentence.lower())
        known = [vocabulary[word] for word in words if word in vocabulary][:MAX_WORDS]
        if not known:
            raise ValueError(
                f"no word of the sentence {quote(sentence, 100)} is in the vocabulary of {len(vocabulary)} words "
                f"(dropped: {enumerate_names([quote(w, 30) for w in words], 8) or 'nothing, it has no words'}); "
                "rephrase it with common English words."
            )
        row[: len(known)] = known
    return ids


def _text_tower(params: Mapping[str, Any]) -> TextTower:
    if "text" not in params:
        raise ValueError(
            "got text, but these parameters have no text tower: a random encoder has none; give a video "
            "as task specifier, or convert the HowTo100M weights with `python -m weights_convert`."
        )
    return TextTower(words=jnp.shape(params["text"]["word_embd"])[0])
