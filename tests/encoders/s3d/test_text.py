"""Oracles: recorded outputs of the PyTorch reference (tests/generators/s3d.py), and the release's rules for tokens."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.s3d import TEXT_LAYERS, WordTokenizer, embed_text, text_intermediates
from tests.encoders.s3d import synthetic

TOKENIZER = WordTokenizer({word: i for i, word in enumerate(synthetic.WORDS, start=1)})
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
        *((f"DON{mark}T pushing", [10, 7]) for mark in "\u2018\u2019\u02bc\uff07"),  # and so do typographic ones
        ("the green-red\u2011black\u2013box\u2014robot", [11, 3, 8, 5, 6, 1]),  # every hyphen and dash separates words
        (
            " ".join(["robot"] * 10 + ["zzz"] * 5 + ["red"] * 10),
            [1] * 10 + [8] * 6,
        ),  # dropped first, then cut
    ],
)
def test_tokens(sentence, ids):
    got = TOKENIZER.tokenize([sentence])
    assert got.shape == (1, 16) and got.dtype == np.int32
    assert got[0].tolist() == ids + [0] * (16 - len(ids))


def test_one_sentence_is_a_batch_of_one():
    np.testing.assert_array_equal(TOKENIZER.tokenize("red box"), TOKENIZER.tokenize(["red box"]))


@pytest.mark.parametrize(
    ("sentence", "dropped"), [("Zyx qwv!", "dropped: 'zyx', 'qwv'"), ("", "no words"), ("?!", "no words")]
)
def test_sentence_without_a_known_word_is_refused(sentence, dropped):
    with pytest.raises(ValueError, match=dropped) as error:
        TOKENIZER.tokenize(["red box", sentence])
    assert repr(sentence) in str(error.value) and "\n" not in str(error.value)


def test_long_sentence_without_a_known_word_is_refused_by_a_short_line():
    with pytest.raises(ValueError, match=r"\(10000 characters\).*dropped: 'zyx0', .* and \d+ more") as error:
        TOKENIZER.tokenize([" ".join(f"zyx{i}" for i in range(5000))[:10_000]])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("sentence", "unknown"),
    [
        ("robot closing green drawer", []),
        ("Robot GRASPS the drawer, then grasps: robot\u2019s box", ["grasps", "then", "robot's"]),
        ("?!", []),
        ("don\u2019t", []),
    ],
)
def test_unknown_words_are_named_once_and_in_order(sentence, unknown):
    assert TOKENIZER.unknown_words(sentence) == unknown


@pytest.mark.parametrize(
    ("vocabulary", "n_rows"), [(TOKENIZER.vocabulary, 13), ({"a": 1, "b": 7, "c": 3}, 8), ({"": 2}, 3), ({}, 1)]
)
def test_a_stored_vocabulary_is_read_back_and_counts_its_rows(vocabulary, n_rows):
    """Row 0 is padding. A released word list may have an empty word or skip a row, if a word occurs twice."""
    tokenizer = WordTokenizer(vocabulary)
    assert tokenizer.n_rows == n_rows
    assert WordTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer


def test_text_without_text_tower_is_refused(params):
    with pytest.raises(ValueError, match="no text tower"):
        embed_text({"video": params["video"]}, jnp.ones((1, 16), jnp.int32))
