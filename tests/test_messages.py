"""Texts in error messages. The oracle is the expected texts."""

import pytest

from rcjax.messages import describe_differences, enumerate_names, escape, one_line, quote


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("conv1.weight", "conv1.weight"),
        ("a\nb\t\x1b\0", r"a\nb\t\x1b\x00"),
        ("\ud800\u202e\ue000", r"\ud800\u202e\ue000"),
        ("é漢", "é漢"),
        ("a" * 61, "a" * 60 + "... (61 characters)"),
        ("\n" * 10**6, r"\n" * 60 + "... (1000000 characters)"),
    ],
)
def test_names_are_escaped_and_truncated(name, escaped):
    assert escape(name) == escaped
    assert quote(name) == (f"'{escaped}'" if len(name) <= 60 else f"'{escaped}".replace("...", "'..."))


def test_lists_are_truncated_with_a_count():
    assert enumerate_names(["a", "b", "c"]) == "a, b, c"
    assert enumerate_names([str(i) for i in range(534)]) == "0, 1, 2 and 531 more"
    assert enumerate_names([]) == ""


def test_a_text_becomes_one_line():
    assert one_line(" a\n b\r\n\tc ") == "a b c"
    assert one_line("\x1b[2J\ud800") == r"\x1b[2J\ud800"
    long = one_line("start " + "x" * 10**7 + " end")
    assert long.startswith("start x") and long.endswith("x end") and 450 < len(long) < 520


def test_differences_are_described():
    found = {"a": ((1, 2), "float32"), "b": ((), "int64"), "new\n": ((), "int64")}
    expected = {"a": ((1, 2), "float32"), "b": ((3,), "int64"), "c": ((), "int64")}
    assert describe_differences(found, found) == ""
    assert describe_differences(found, expected) == (
        r"1 missing: c; 1 not expected: 'new\n'; 1 of another shape or dtype: b int64[] instead of int64[3]"
    )
