"""Measures the peaks of the device with a large matrix product, chains of multiply-adds, and a large copy."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.report import time_interleaved


def best_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Returns the shortest time of `repeats` calls, after one that is not counted."""
    return min(time_interleaved({"": function}, repeats)[""])


def matrix_flops(dtype: Any, side: int | None = None, repeats: int = 5) -> float:
    """Returns the FLOP/s of a product of matrices [side side]; float32 has full precision, as in S3D."""
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jax.random.normal(jax.random.key(0), (side, side), dtype)
    precision = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=precision)).lower(a).compile()
    return 2 * side**3 / best_seconds(lambda: product(a), repeats)


CHAINS, LENGTH = 16, 64  # independent chains of multiply-adds for each element, and their length


def vector_flops(elements: int | None = None, repeats: int = 5) -> float:
    """Returns the FLOP/s of float32 multiply-adds outside of matrix products."""
    elements = elements or (1 << 16 if jax.default_backend() == "cpu" else 1 << 24)

    def chains(x: jax.Array, a: jax.Array) -> jax.Array:
        links = [x + i for i in range(CHAINS)]
        for _ in range(LENGTH):
            links = [link * a + x for link in links]
        return functools.reduce(jnp.add, links)

    x, a = jnp.ones(elements), jnp.float32(0.5)
    compiled = jax.jit(chains).lower(x, a).compile()
    return 2 * CHAINS * LENGTH * elements / best_seconds(lambda: compiled(x, a), repeats)


def copy_bytes(mebibytes: int | None = None, repeats: int = 5) -> float:
    """Returns the bytes/s of reading a large array and writing it in place, so that no memory is allocated."""
    mebibytes = mebibytes or (512 if jax.default_backend() == "cpu" else 4096)
    x = jnp.zeros(mebibytes << 18, jnp.float32)
    increase = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    n_bytes, current = 2 * x.nbytes, [x]

    def once() -> jax.Array:
        current[0] = increase(current[0])
        return current[0]

    return n_bytes / best_seconds(once, repeats)
