"""Keeps all arrays of this package at 32 bits, even if JAX's 64-bit mode is on (`JAX_ENABLE_X64=1`)."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_DTYPES_IN_32_BITS = {
    np.dtype(np.float64): jnp.float32,
    np.dtype(np.int64): jnp.int32,
    np.dtype(np.uint64): jnp.uint32,
    np.dtype(np.complex128): jnp.complex64,
}


def in_32_bits(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates `function` so that it runs as if JAX's 64-bit mode were off, and rounds 64-bit arguments to 32 bits.

    So a program gets the same numbers with and without the mode. Otherwise the mode would change MJX, whose arrays
    would become float64 in the middle of a float32 scan, and random draws, which would give other numbers.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        if not is_64_bit_mode():
            return function(*args, **kwargs)
        args, kwargs = jax.tree.map(_to_32_bits, (args, kwargs))
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return wrapped


def is_64_bit_mode() -> bool:
    """Returns whether JAX's 64-bit mode is on."""
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64


def _to_32_bits(leaf: Any) -> Any:
    dtype = getattr(leaf, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype in _DTYPES_IN_32_BITS:
        return jnp.asarray(leaf, _DTYPES_IN_32_BITS[dtype])
    return leaf
