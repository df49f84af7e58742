"""Makes names and texts of unknown origin fit into an error message of one short line."""

from collections.abc import Sequence

ArraySpecs = dict[str, tuple[tuple[int, ...], str]]
"""The shape and dtype of arrays by their name."""


def escape(text: str, max_length: int = 60) -> str:
    """Returns `text` with unprintable characters escaped. A longer text is truncated, and its length is added."""
    escaped = repr(text[:max_length])[1:-1]
    return escaped if len(text) <= max_length else f"{escaped}... ({len(text)} characters)"


def quote(name: str, max_length: int = 60) -> str:
    """Returns `escape(name)` in quotation marks."""
    quoted = repr(name[:max_length])
    return quoted if len(name) <= max_length else f"{quoted}... ({len(name)} characters)"


def enumerate_names(names: Sequence[str], max_names: int = 3) -> str:
    """Returns the first `max_names` names and how many more there are: "a, b, c and 531 more"."""
    more = f" and {len(names) - max_names} more" if len(names) > max_names else ""
    return ", ".join(names[:max_names]) + more


def one_line(text: str, max_length: int = 500) -> str:
    """Returns `text` in one line, with unprintable characters escaped. The middle of a longer text is left out."""
    if len(text) > 100 * max_length:  # saves time: most of it would be left out below
        text = f"{text[: 50 * max_length]} {text[-50 * max_length :]}"
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    return line if len(line) <= max_length else f"{line[: max_length * 2 // 3]} ... {line[-max_length // 3 :]}"


def describe_differences(found: ArraySpecs, expected: ArraySpecs) -> str:
    """Returns which arrays are missing, not expected, or of another shape or dtype; "" if there is no difference."""
    missing = sorted(expected.keys() - found.keys())
    extra = [quote(name, 30) for name in sorted(found.keys() - expected.keys())]
    other = [
        f"{name} {_describe(found[name])} instead of {_describe(expected[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    kinds = {"missing": (missing, 3), "not expected": (extra, 2), "of another shape or dtype": (other, 2)}
    return "; ".join(
        f"{len(names)} {kind}: {enumerate_names(names, max_names)}"
        for kind, (names, max_names) in kinds.items()
        if names
    )


def _describe(array: tuple[tuple[int, ...], str]) -> str:
    return escape(f"{array[1]}{list(array[0])}", 40)
