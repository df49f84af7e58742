"""The sentences that the bundled encoder is trained on. Oracles: forms of verbs and the paper's prompts by hand."""

import collections

import pytest

from experiments.small_encoder import sentences
from experiments.small_encoder.fitting import make_tokenizer
from experiments.small_encoder.sentences import (
    ALL_TASKS,
    HELD_OUT_TASKS,
    PHRASES,
    TRAINED_TASKS,
    all_sentences,
    split_sentences,
)
from rcjax.encoders.s3d.text import MAX_WORDS, words_of
from rcjax.envs.registry import task_class

FORMS = {  # of the first word of a verb: after "robot", and after "the robot"
    "carry": ("carrying", "carries"), "close": ("closing", "closes"), "cover": ("covering", "covers"),
    "drag": ("dragging", "drags"), "drive": ("driving", "drives"), "drop": ("dropping", "drops"),
    "dunk": ("dunking", "dunks"), "grasp": ("grasping", "grasps"), "hammer": ("hammering", "hammers"),
    "hit": ("hitting", "hits"), "insert": ("inserting", "inserts"), "kick": ("kicking", "kicks"),
    "lift": ("lifting", "lifts"), "lock": ("locking", "locks"), "move": ("moving", "moves"),
    "open": ("opening", "opens"), "pick": ("picking", "picks"), "place": ("placing", "places"),
    "press": ("pressing", "presses"), "pull": ("pulling", "pulls"), "push": ("pushing", "pushes"),
    "put": ("putting", "puts"), "raise": ("raising", "raises"), "reach": ("reaching", "reaches"),
    "roll": ("rolling", "rolls"), "rotate": ("rotating", "rotates"), "shut": ("shutting", "shuts"),
    "slide": ("sliding", "slides"), "spin": ("spinning", "spins"), "sweep": ("sweeping", "sweeps"),
    "switch": ("switching", "switches"),
    "take": ("taking", "takes"), "turn": ("turning", "turns"), "unlock": ("unlocking", "unlocks"),
    "unplug": ("unplugging", "unplugs"),
}  # fmt: skip
VERBS = sorted({verb for phrases in PHRASES.values() for verbs, _ in phrases for verb in verbs})


@pytest.mark.parametrize("verb", VERBS)
def test_forms_of_a_verb_are_english(verb):
    """What follows the first word stays as it is, but for a second verb after "and"."""
    first, *rest = verb.split()
    participle, third_person = ([form, *rest] for form in FORMS[first])
    if "and" in rest:
        second = rest.index("and") + 2
        participle[second], third_person[second] = FORMS[verb.split()[second]]
    assert sentences._participle(verb) == " ".join(participle)
    assert sentences._third_person(verb) == " ".join(third_person)


def test_no_verb_is_missing_from_the_table_above():
    assert {verb.split()[0] for verb in VERBS} == FORMS.keys()
    assert sentences._participle("reach over wall and press") == "reaching over wall and pressing"
    assert sentences._third_person("reach over wall and push") == "reaches over wall and pushes"


def test_every_task_has_phrases_and_is_either_trained_on_or_held_out():
    assert set(PHRASES) == set(ALL_TASKS) == {*TRAINED_TASKS, *HELD_OUT_TASKS}
    assert len(TRAINED_TASKS) + len(HELD_OUT_TASKS) == len(ALL_TASKS) == 57


@pytest.mark.parametrize("task", ALL_TASKS)
def test_the_prompt_is_first_and_trained_on_and_some_others_are_held_out(task):
    trained, held_out = split_sentences(task)
    assert trained[0] == all_sentences(task)[0] == task_class(task).prompt
    assert len(trained) > len(held_out) > 0
    assert sorted([*trained, *held_out]) == sorted(set(all_sentences(task)))  # disjoint, and none is lost or twice
    assert split_sentences(task) == (trained, held_out)


def test_sentences_are_plain_and_short_enough_to_be_read_whole():
    for task in ALL_TASKS:
        for sentence in all_sentences(task):
            assert sentence == " ".join(words_of(sentence)) and len(words_of(sentence)) <= MAX_WORDS


def test_no_sentence_means_two_tasks():
    """In training it would be right and wrong at once."""
    counts = collections.Counter(sentence for task in ALL_TASKS for sentence in all_sentences(task))
    assert [sentence for sentence, count in counts.items() if count > 1] == []


def test_the_sentences_of_a_task_are_its_verbs_and_objects_in_all_templates():
    """The oracle is written out by hand."""
    lock = {
        f"{start} {what}"
        for start in ("robot locking", "locking", "lock", "the robot locks", "a robot arm locking", "robot locking the",
                      "lock the")
        for what in ("door", "black door", "door with lock")
    }  # fmt: skip
    turn = {
        f"{start} lock to lock door"
        for start in ("robot turning", "turning", "turn", "the robot turns", "a robot arm turning", "robot turning the",
                      "turn the")
    }  # fmt: skip
    assert set(all_sentences("door-lock")) == lock | turn


def test_all_words_but_one_are_known_after_training():
    """Those of the held-out sentences, and those of the tasks that are never trained on."""
    tokenizer = make_tokenizer()
    unknown = {word for task in ALL_TASKS for text in all_sentences(task) for word in tokenizer.unknown_words(text)}
    assert unknown == {"around"}  # of the held-out task push-wall, whose other words are known
    assert sorted(tokenizer.vocabulary.values()) == list(range(1, tokenizer.n_rows))
