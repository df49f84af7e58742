"""What the device can do at most, measured: a large matrix product, chains of multiply-adds, a large copy."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def best_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Of `repeats` calls after one that is not counted."""
    runs = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        runs.append(time.perf_counter() - begun)
    return min(runs[1:])


def matrix_flops(dtype: Any, side: int | None = None, repeats: int = 5) -> float:
    """FLOP/s of a product of square matrices, [side side]; float32 in full, as S3D's."""
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jax.random.normal(jax.random.key(0), (side, side), dtype)
    precision = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else jax.lax.Precision.DEFAULT
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=precision)).lower(a).compile()
    return 2 * side**3 / best_seconds(lambda: product(a), repeats)


def vector_flops(elements: int | None = None, repeats: int = 5) -> float:
    """FLOP/s of float32 multiply-adds outside of matrix products, 256 after one another on each of many elements."""
    elements = elements or (1 << 20 if jax.default_backend() == "cpu" else 1 << 26)

    def chain(x: jax.Array, a: jax.Array) -> jax.Array:
        for _ in range(256):
            x = x * a + a
        return x

    x, a = jnp.ones(elements), jnp.float32(0.5)
    compiled = jax.jit(chain).lower(x, a).compile()
    return 2 * 256 * elements / best_seconds(lambda: compiled(x, a), repeats)


def copy_bytes(mebibytes: int | None = None, repeats: int = 5) -> float:
    """Bytes/s of reading an array of this size and writing another."""
    mebibytes = mebibytes or (512 if jax.default_backend() == "cpu" else 4096)
    x = jnp.zeros(mebibytes << 18, jnp.float32)
    copy = jax.jit(lambda x: x + 1).lower(x).compile()
    return 2 * x.nbytes / best_seconds(lambda: copy(x), repeats)
