"""The text tower, which maps sentences to 512-vectors.

It is a word embedding, a linear map with ReLU, the maximum over words, and a linear map (Miech et al. 2020,
arXiv:1912.06430, section 3.3).
"""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int, Int32

from rcjax.encoders.network import Params
from rcjax.encoders.s3d.architecture import RELEASED, Architecture
from rcjax.encoders.s3d.video import scale_to_norm
from rcjax.messages import enumerate_names, quote
from rcjax.precision import in_32_bits

MAX_WORDS = 16
TEXT_LAYERS = ("word_embd", "fc1", "max", "fc2")


class TextTower(nn.Module):
    """Maps word ids to embeddings. `n_rows` is the number of rows of the word table, including the padding row 0.

    Padding is not masked: row 0 is not zero in the released weights and takes part in the maximum.
    """

    n_rows: int
    architecture: Architecture = RELEASED

    @nn.compact
    def __call__(self, token_ids: Int[Array | np.ndarray, "n words"]) -> Float[Array, "n D"]:
        sizes = self.architecture
        table = self.param("word_embd", nn.initializers.normal(1.0), (self.n_rows, sizes.word_embedding_size))
        x = table[token_ids]
        self.sow("intermediates", "word_embd_out", x)
        x = nn.relu(nn.Dense(sizes.hidden_size, precision=lax.Precision.HIGHEST, name="fc1")(x))
        self.sow("intermediates", "fc1_out", x)
        x = x.max(axis=1)
        self.sow("intermediates", "max_out", x)
        x = nn.Dense(sizes.embedding_size, precision=lax.Precision.HIGHEST, name="fc2")(x)
        self.sow("intermediates", "fc2_out", x)
        return scale_to_norm(x, sizes.embedding_norm)


@in_32_bits
def embed_text(
    params: Params, token_ids: Int[Array | np.ndarray, "n 16"], *, architecture: Architecture = RELEASED
) -> Float[Array, "n D"]:
    """Returns S3D's embedding of each sentence, in float32. `token_ids` come from `WordTokenizer`.

    The released model's embeddings are not normalised.

    Raises ValueError if `params` (an `Encoder.params`) has no text tower.
    """
    return cast(Array, _text_tower(params, architecture).apply({"params": params["text"]}, token_ids))


def text_intermediates(
    params: Params, token_ids: Int[Array | np.ndarray, "n 16"]
) -> collections.OrderedDict[str, Array]:
    """Returns the output of every layer in `TEXT_LAYERS`, in order; that of `fc1` is after its ReLU."""
    _, state = _text_tower(params).apply({"params": params["text"]}, token_ids, mutable=["intermediates"])
    captured = cast(Params, state["intermediates"])
    return collections.OrderedDict((str(name), captured[f"{name}_out"][0]) for name in TEXT_LAYERS)


@dataclasses.dataclass(frozen=True)
class WordTokenizer:
    """Reads sentences word by word, as the released model does: lower-case, split by the regular expression [\\w']+.

    `vocabulary` maps a word to its row in the text tower's table (from 1; row 0 is padding). Typographic apostrophes
    are read as plain ones, and hyphens of all kinds separate words, as they do in the released model.
    """

    vocabulary: Mapping[str, int]

    @property
    def n_rows(self) -> int:
        """Number of rows of the text tower's table."""
        return max(self.vocabulary.values(), default=0) + 1

    def tokenize(self, sentences: Sequence[str]) -> Int32[np.ndarray, "n 16"]:
        """Returns the word ids of each sentence, padded with 0.

        Words that the vocabulary lacks are dropped, and so are all words after the 16th known one. Raises ValueError
        for a sentence without any known word, because all such sentences would have the same embedding.
        """
        sentences = [sentences] if isinstance(sentences, str) else sentences
        ids = np.zeros((len(sentences), MAX_WORDS), np.int32)
        for row, sentence in zip(ids, sentences, strict=True):
            known = [self.vocabulary[word] for word in words_of(sentence) if word in self.vocabulary][:MAX_WORDS]
            if not known:
                dropped = enumerate_names([quote(w, 30) for w in words_of(sentence)], 8)
                raise ValueError(
                    f"no word of the sentence {quote(sentence, 100)} is in the vocabulary of {len(self.vocabulary)} "
                    f"words (dropped: {dropped or 'nothing, it has no words'}); rephrase it with common English words."
                )
            row[: len(known)] = known
        return ids

    def unknown_words(self, sentence: str) -> list[str]:
        """Returns the words that the vocabulary lacks, in order and without repetition."""
        return list(dict.fromkeys(word for word in words_of(sentence) if word not in self.vocabulary))

    def to_json(self) -> dict[str, int]:
        return dict(self.vocabulary)

    @classmethod
    def from_json(cls, stored: Any) -> "WordTokenizer":
        """Returns the tokenizer that `to_json` wrote. Raises ValueError for anything else."""
        if not isinstance(stored, dict) or not all(type(row) is int and row > 0 for row in stored.values()):
            raise ValueError("its vocabulary does not map words to rows, which are whole numbers from 1")
        return cls(stored)


def words_of(sentence: str) -> list[str]:
    """Returns the words of a sentence as the released model reads them, with plain apostrophes."""
    return re.findall(r"[\w']+", sentence.lower().translate(PLAIN_APOSTROPHES))


PLAIN_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u02bc\uff07", "'"))


def _text_tower(params: Params, architecture: Architecture = RELEASED) -> TextTower:
    """Returns the tower that fits `params`; raises ValueError if they have no text tower."""
    if "text" not in params:
        raise ValueError(
            "got text, but these parameters have no text tower: a random encoder has none; give a video "
            "as task specifier, or convert the HowTo100M weights with `python -m weights_convert`."
        )
    return TextTower(n_rows=jnp.shape(params["text"]["word_embd"])[0], architecture=architecture)
