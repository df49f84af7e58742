"""Names and texts of unknown origin, made fit for an error message of one short line."""

from collections.abc import Sequence

Spec = dict[str, tuple[tuple[int, ...], str]]  # name -> shape, dtype


def escape(text: str, most: int = 60) -> str:
    """`text` with what cannot be printed escaped, and if it has over `most` characters, cut there, with its length."""
    escaped = repr(text[:most])[1:-1]
    return escaped if len(text) <= most else f"{escaped}... ({len(text)} characters)"


def quote(name: str, most: int = 60) -> str:
    """`escape`, in quotation marks."""
    cut = repr(name[:most])
    return cut if len(name) <= most else f"{cut}... ({len(name)} characters)"


def enumerate_names(names: Sequence[str], most: int = 3) -> str:
    """The first `most` names and how many more there are: "a, b, c and 531 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def one_line(text: str, most: int = 500) -> str:
    """`text` with its white space joined and what cannot be printed escaped; a longer one loses its middle."""
    if len(text) > 100 * most:  # what is thrown away need not be looked at
        text = f"{text[: 50 * most]} {text[-50 * most :]}"
    words = " ".join(text.split())
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    return line if len(line) <= most else f"{line[: most * 2 // 3]} ... {line[-most // 3 :]}"


def describe_differences(found: Spec, expected: Spec) -> str:
    """What of `expected` is missing, what is too much, and what has another shape or dtype; "" if all is equal."""
    missing = sorted(expected.keys() - found.keys())
    extra = [quote(name, 30) for name in sorted(found.keys() - expected.keys())]
    other = [
        f"{name} {_describe(found[name])} instead of {_describe(expected[name])}"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    kinds = {"missing": (missing, 3), "not expected": (extra, 2), "of another shape or dtype": (other, 2)}
    return "; ".join(
        f"{len(names)} {kind}: {enumerate_names(names, most)}" for kind, (names, most) in kinds.items() if names
    )


def _describe(array: tuple[tuple[int, ...], str]) -> str:
    return escape(f"{array[1]}{list(array[0])}", 40)
