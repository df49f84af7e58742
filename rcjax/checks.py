"""Checks of what people give: each raises ValueError with what was got and what is expected."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Collection
from typing import Any, Literal

INT32_MAX = 2**31 - 1  # arrays on the device count with 32 bits
UINT32_MAX = 2**32 - 1  # the largest seed of NumPy's RandomState

_LONGEST = 100  # characters of a value in a message


def shown(value: object) -> str:
    """`repr`, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # of an integer with more digits than Python prints
        return f"an {type(value).__name__} with thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def refuse(name: str, value: object, expected: str) -> typing.NoReturn:
    raise ValueError(f"{name}={shown(value)}; it must be {expected}.")


def is_whole(value: object) -> bool:
    """Whether it is an integer, Python's or NumPy's; True and False are not meant as one."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_whole(name: str, value: object, low: int, high: int = INT32_MAX) -> None:
    if not is_whole(value):
        refuse(name, value, "a whole number")
    require_range(name, value, low, high)


def require_range(name: str, value: Any, low: float, high: float = INT32_MAX) -> None:
    """`value` is a number already."""
    if value < low:
        refuse(name, value, f"at least {low}")
    if value > high:
        refuse(name, value, f"at most {high}")


def require_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        refuse(name, value, "True or False")


def require_one_of(name: str, value: object, choices: Collection[Any]) -> None:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        refuse(name, value, _listed(choices))


def require_types(config: Any) -> None:
    """Each field of a dataclass holds what its annotation says, and no number is NaN.

    Annotations may be bool, int, float, str, None, dataclasses, Literals, unions and `tuple[T, ...]`, for which a list
    passes too. An int passes for a float, but a bool for neither.
    """
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(kind, value):
            refuse(name, value, _described(kind))


def _fits(kind: Any, value: object) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_fits(arguments[0], item) for item in value)
    if kind is int:
        return is_whole(value)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value  # NaN is not
    return isinstance(value, kind)


_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", type(None): "None"}


def _described(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_described(argument) for argument in arguments)
    if origin is Literal:
        return _listed(arguments)
    if origin is tuple:
        return "a sequence of whole numbers" if arguments[0] is int else f"a sequence, each {_described(arguments[0])}"
    if dataclasses.is_dataclass(kind):
        return f"a {typing.cast(type, kind).__name__}"
    return _WORDS.get(kind, str(kind))


def _listed(choices: Collection[Any]) -> str:
    """'a', 'b' or 'c'."""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}" if others else last
