"""Oracle: ids recorded from OpenCLIP's tokenizer (`tests/generators/clip.py`), and BPE by hand on a few merges."""

import json

import numpy as np
import pytest

from rcjax.encoders.clip import BytePairTokenizer
from rcjax.encoders.clip.tokenizer import split_words
from tests.encoders.clip import synthetic


@pytest.fixture(scope="module")
def released():
    return synthetic.released_tokenizer()


def test_ids_are_those_of_openclip(released):
    tokenizer, recorded = released
    assert (tokenizer.n_tokens, tokenizer.start, tokenizer.end) == (49408, 49406, 49407)
    assert len(recorded) > 10
    for sentence, ids in recorded.items():
        assert tokenizer.tokenize([sentence])[0].tolist() == ids, sentence


def test_ids_are_padded_with_zeros(released):
    got = released[0].tokenize(["a photo of a cat"])[0]
    assert got.dtype == np.int32
    assert got.tolist() == [49406, 320, 1125, 539, 320, 2368, 49407] + [0] * 70


def test_long_sentence_keeps_the_end_token(released):
    tokenizer, _ = released
    ids = tokenizer.tokenize(["close the drawer " * 30])[0]
    assert ids.shape == (77,) and ids[0] == tokenizer.start and ids[-1] == tokenizer.end
    assert (ids[1:-1] < tokenizer.start).all() and ids[1:4].tolist() == ids[4:7].tolist()


@pytest.mark.parametrize("typed", ["the robot\u2019s arm", "the robot\u2018s arm", "THE  robot\u02bcs\tarm\n"])
def test_apostrophes_are_plain(typed, released):
    np.testing.assert_array_equal(*released[0].tokenize([typed, "the robot's arm"]))


@pytest.mark.parametrize("dash", "\u2010\u2011\u2012\u2013\u2014\u2015\u2212")
def test_dashes_are_plain(dash):
    assert list(split_words(f"drawer{dash}close")) == ["drawer", "-", "close"]


def test_merges_follow_their_order():
    """`ab` comes before `bc`: a b c -> ab c, and every occurrence is merged."""
    tokenizer = BytePairTokenizer(("a b", "b c</w>", "ab ab"), 8)
    ab, bc, abab = 512, 513, 514
    c = 256 + "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abc".index("c")
    assert tokenizer.tokenize(["ababc bc"])[0].tolist() == [515, abab, c, bc, 516, 0, 0, 0]
    assert tokenizer.tokenize(["abc"])[0].tolist()[:4] == [515, ab, c, 516]


def test_every_word_is_known(released):
    assert released[0].unknown_words("zyx qwv 机器人") == []


def test_one_sentence_is_a_batch_of_one(released):
    tokenizer, _ = released
    np.testing.assert_array_equal(tokenizer.tokenize("a cat"), tokenizer.tokenize(["a cat"]))


@pytest.mark.parametrize("blank", ["", "  \t\n", "\u00a0"])
def test_blank_sentence_is_refused(blank, released):
    with pytest.raises(ValueError, match="is blank") as error:
        released[0].tokenize(["a cat", blank])
    assert "\n" not in str(error.value)


def test_word_that_would_take_long_is_refused(released):
    with pytest.raises(ValueError, match=r"has a word of 100000 bytes, .*\(100000 characters\), over 1000") as error:
        released[0].tokenize(["x" * 100_000])
    assert len(str(error.value)) < 200


def test_text_of_odd_characters_has_tokens(released):
    """Half a surrogate pair, a NUL and an unassigned character are bytes as well."""
    assert released[0].tokenize(["\ud800", "\0", "\u0378"])[:, 1].all()


def test_is_stored_as_json():
    stored = json.loads(json.dumps(synthetic.TOKENIZER.to_json()))
    assert BytePairTokenizer.from_json(stored, 10) == synthetic.TOKENIZER


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"a": 1}, "not a list of merges"),
        ("a b", "not a list of merges"),
        (None, "not a list of merges"),
        (["a b", 3], "not a list of merges, which are texts"),
        (["ab"], "merge 1, 'ab', does not join"),
        (["a b c"], "merge 1, 'a b c', does not join"),
        (["a "], "merge 1, 'a ', does not join"),
        (["ab c", "a b"], "merge 1, 'ab c', does not join two symbols that are known before it"),
        (["a b", "ab</w> c"], "merge 2"),
        (["x" * 10**6], r"\(1000000 characters\)"),
    ],
)
def test_other_json_is_refused(stored, message):
    with pytest.raises(ValueError, match=message) as error:
        BytePairTokenizer.from_json(stored, 77)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
