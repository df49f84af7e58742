"""The text tower, which maps sentences to 512-vectors.

It is a word embedding, a linear map with ReLU, the maximum over words, and a linear map (Miech et al. 2020,
arXiv:1912.06430, section 3.3).
"""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, Int32

from rcjax.messages import enumerate_names, quote
from rcjax.precision import in_32_bits
from rcjax.s3d.layers import Params
from rcjax.s3d.video import EMBEDDING_SIZE

MAX_WORDS = 16
WORD_EMBEDDING_SIZE = 300
HIDDEN_SIZE = 2048
TEXT_LAYERS = ("word_embd", "fc1", "max", "fc2")


class TextTower(nn.Module):
    """Maps word ids to embeddings. `n_rows` is the number of rows of the word table, including the padding row 0.

    Padding is not masked: row 0 is not zero in the released weights and takes part in the maximum.
    """

    n_rows: int

    @nn.compact
    def __call__(self, token_ids: Int[Array | np.ndarray, "n words"]) -> Float[Array, "n 512"]:
        table = self.param("word_embd", nn.initializers.normal(1.0), (self.n_rows, WORD_EMBEDDING_SIZE))
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
def embed_text(params: Params, token_ids: Int[Array | np.ndarray, "n 16"]) -> Float[Array, "n 512"]:
    """Returns S3D's embedding of each sentence, in float32 and not normalised. `token_ids` come from `tokenize`.

    Raises ValueError if `params` (an `Encoder.params`) has no text tower.
    """
    return cast(Array, _text_tower(params).apply({"params": params["text"]}, token_ids))


def text_intermediates(
    params: Params, token_ids: Int[Array | np.ndarray, "n 16"]
) -> collections.OrderedDict[str, Array]:
    """Returns the output of every layer in `TEXT_LAYERS`, in order; that of `fc1` is after its ReLU."""
    _, state = _text_tower(params).apply({"params": params["text"]}, token_ids, mutable=["intermediates"])
    captured = cast(Params, state["intermediates"])
    return collections.OrderedDict((str(name), captured[f"{name}_out"][0]) for name in TEXT_LAYERS)


def tokenize(sentences: Sequence[str], vocabulary: Mapping[str, int] | None) -> Int32[np.ndarray, "n 16"]:
    """Returns the word ids of each sentence, padded with 0. This is a host function.

    Sentences are lower-cased and split by the regular expression [\\w']+. Words that are not in `vocabulary` (an
    `Encoder.vocabulary`) are dropped, and so are all words after the 16th known one.

    Raises ValueError if `vocabulary` is None, and for a sentence without any known word, because all such sentences
    would have the same embedding.
    """
    if vocabulary is None:
        raise ValueError(
            "got text, but this encoder has no vocabulary: a random encoder has no text tower; give a video as "
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


def _text_tower(params: Params) -> TextTower:
    """Returns the tower that fits `params`; raises ValueError if they have no text tower."""
    if "text" not in params:
        raise ValueError(
            "got text, but these parameters have no text tower: a random encoder has none; give a video "
            "as task specifier, or convert the HowTo100M weights with `python -m weights_convert`."
        )
    return TextTower(n_rows=jnp.shape(params["text"]["word_embd"])[0])
