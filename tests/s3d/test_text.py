"""Oracles: recorded outputs of the PyTorch reference (tests/generators/s3d.py), and the release's rules for tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.s3d import TEXT_LAYERS, embed_text, text_intermediates, tokenize
from tests.s3d import synthetic

VOCABULARY = {word: i for i, word in enumerate(synthetic.WORDS, start=1)}
PARITY = 1e-5  # float32, four layers


@pytest.mark.parametrize("name", TEXT_LAYERS)
def test_layer_matches_pytorch(name, params, recorded):
    got = np.asarray(text_intermediates(params, jnp.asarray(recorded["token_ids"]))[name])
    assert got.shape == tuple(recorded[f"{name}.shape"])
    expected = recorded[f"{name}.sample"]
    got = got.ravel()[synthetic.sample_positions(got.size)]
    assert np.linalg.norm(got - expected) < PARITY * np.linalg.norm(expected)


def test_embedding_matches_pytorch(params, recorded):
    got, expected = jax.jit(embed_text)(params, recorded["token_ids"]), recorded["text_embedding"]
    np.testing.assert_allclose(got, expected, atol=PARITY * np.abs(expected).max())


def test_padding_takes_part_in_the_maximum(params):
    """Row 0 of the word table is not zero, so 16 times a word differs from the word padded to 16."""
    once, repeated = np.array([[3] + [0] * 15]), np.array([[3] * 16])
    assert np.abs(embed_text(params, once) - embed_text(params, repeated)).max() > 0.01


@pytest.mark.parametrize(
    ("sentence", "ids"),
    [
        ("robot closing green drawer", [1, 2, 3, 4]),
        ("Robot, CLOSING: the-green  drawer!", [1, 2, 11, 3, 4]),
        ("robot shutting green drawer", [1, 3, 4]),  # unknown words are dropped
        ("don't pushing", [10, 7]),  # an apostrophe belongs to its word
        (
            " ".join(["robot"] * 10 + ["zzz"] * 5 + ["red"] * 10),
            [1] * 10 + [8] * 6,
        ),  # dropped first, then cut
    ],
)
def test_tokens(sentence, ids):
    got = tokenize([sentence], VOCABULARY)
    assert got.shape == (1, 16) and got.dtype == np.int32
    assert got[0].tolist() == ids + [0] * (16 - len(ids))


def test_one_sentence_is_a_batch_of_one():
    np.testing.assert_array_equal(tokenize("red box", VOCABULARY), tokenize(["red box"], VOCABULARY))


@pytest.mark.parametrize(
    ("sentence", "dropped"), [("Zyx qwv!", "dropped: 'zyx', 'qwv'"), ("", "no words"), ("?!", "no words")]
)
def test_sentence_without_a_known_word_is_refused(sentence, dropped):
    with pytest.raises(ValueError, match=dropped) as error:
        tokenize(["red box", sentence], VOCABULARY)
    assert repr(sentence) in str(error.value) and "\n" not in str(error.value)


def test_long_sentence_without_a_known_word_is_refused_by_a_short_line():
    with pytest.raises(ValueError, match=r"\(10000 characters\).*dropped: 'zyx0', .* and \d+ more") as error:
        tokenize([" ".join(f"zyx{i}" for i in range(5000))[:10_000]], VOCABULARY)
    assert len(str(error.value)) < 500


def test_text_without_text_tower_is_refused(params):
    with pytest.raises(ValueError, match="no vocabulary"):
        tokenize(["red box"], None)
    with pytest.raises(ValueError, match="no text tower"):
        embed_text({"video": params["video"]}, jnp.ones((1, 16), jnp.int32))
