"""Our arrays are 32 bits wide, also in a program that has switched JAX's 64-bit mode on (`JAX_ENABLE_X64=1`)."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_NARROW = {
    np.dtype(np.float64): jnp.float32,
    np.dtype(np.int64): jnp.int32,
    np.dtype(np.uint64): jnp.uint32,
    np.dtype(np.complex128): jnp.complex64,
}


def in_32_bits(function: Callable[P, R]) -> Callable[P, R]:
    """`function` traced as if JAX's 64-bit mode were off, with 64-bit arrays among its arguments rounded to 32 bits.

    Without it the mode would reach into MJX, whose arrays would become float64 in the middle of a float32 scan, and
    into random draws, which would be other ones. So a program gets the same numbers with and without the mode.
    """

    @functools.wraps(function)
    def narrowed(*args: P.args, **kwargs: P.kwargs) -> R:
        if not is_64_bit_mode():
            return function(*args, **kwargs)
        args, kwargs = jax.tree.map(_narrow, (args, kwargs))
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return narrowed


def is_64_bit_mode() -> bool:
    return jax.dtypes.canonicalize_dtype(np.float64) == np.float64


def _narrow(leaf):
    dtype = getattr(leaf, "dtype", None)
    return jnp.asarray(leaf, _NARROW[dtype]) if isinstance(dtype, np.dtype) and dtype in _NARROW else leaf
