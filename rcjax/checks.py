"""Checks of user input. Each raises ValueError with a message that has the value and what was expected."""

import dataclasses
import numbers
import types
import typing
from collections.abc import Collection
from typing import Any, Literal

INT32_MAX = 2**31 - 1  # integers on the device have 32 bits
UINT32_MAX = 2**32 - 1  # the largest seed of NumPy's RandomState

_MAX_REPR_LENGTH = 100  # characters of a value in a message


def short_repr(value: object) -> str:
    """Returns `repr(value)`, truncated to 100 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers with thousands of digits
        return f"an {type(value).__name__} with thousands of digits"
    return text if len(text) <= _MAX_REPR_LENGTH else f"{text[:_MAX_REPR_LENGTH]}..."


def raise_invalid(name: str, value: object, expected: str) -> typing.NoReturn:
    """Raises ValueError with the message "NAME=VALUE; it must be EXPECTED."."""
    raise ValueError(f"{name}={short_repr(value)}; it must be {expected}.")


def is_integer(value: object) -> typing.TypeGuard[int]:
    """Returns whether `value` is a Python or NumPy integer. True and False do not count as integers."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_integer(name: str, value: object, low: int, high: int = INT32_MAX) -> None:
    """Raises ValueError unless `value` is an integer from `low` to `high`."""
    if not is_integer(value):
        raise_invalid(name, value, "a whole number")
    require_range(name, value, low, high)


def require_range(name: str, value: Any, low: float | int, high: float | int = INT32_MAX) -> None:
    """Raises ValueError unless the number `value` is from `low` to `high`."""
    if value < low:
        raise_invalid(name, value, f"at least {low}")
    if value > high:
        raise_invalid(name, value, f"at most {high}")


def require_bool(name: str, value: object) -> None:
    """Raises ValueError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise_invalid(name, value, "True or False")


def require_one_of(name: str, value: object, choices: Collection[Any]) -> None:
    """Raises ValueError unless `value` equals one of the choices and has the same type."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise_invalid(name, value, _list_choices(choices))


def require_types(config: Any) -> None:
    """Raises ValueError unless every field of a dataclass instance has the annotated type, and no number is NaN.

    Annotations may be bool, int, float, str, None, dataclasses, Literals, unions and `tuple[T, ...]`. A list counts as
    a tuple, and an int counts as a float. A bool counts neither as an int nor as a float.
    """
    for name, annotation in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _has_type(value, annotation):
            raise_invalid(name, value, _describe_type(annotation))


def _has_type(value: object, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_has_type(value, argument) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_has_type(item, arguments[0]) for item in value)
    if annotation is int:
        return is_integer(value)
    if annotation is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value  # NaN != NaN
    return isinstance(value, annotation)


_TYPE_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", type(None): "None"}


def _describe_type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe_type(argument) for argument in arguments)
    if origin is Literal:
        return _list_choices(arguments)
    if origin is tuple:
        return (
            "a sequence of whole numbers" if arguments[0] is int else f"a sequence, each {_describe_type(arguments[0])}"
        )
    if dataclasses.is_dataclass(annotation):
        return f"a {typing.cast(type, annotation).__name__}"
    return _TYPE_NAMES.get(annotation, str(annotation))


def _list_choices(choices: Collection[Any]) -> str:
    """Returns "'a', 'b' or 'c'"."""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}" if others else last
