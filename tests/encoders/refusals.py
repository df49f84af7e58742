"""Errors of wrong arguments, with and without types that are checked at run time (`--jaxtyping-packages`)."""

import contextlib
import re
from collections.abc import Iterator

import jaxtyping
import pytest


@contextlib.contextmanager
def refused(message: str) -> Iterator[None]:
    """Expects the ValueError, or the earlier error of jaxtyping where that is switched on."""
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        yield
    assert isinstance(error.value, jaxtyping.TypeCheckError) or re.search(message, str(error.value))
