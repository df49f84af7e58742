"""Physics of a large batch on a CPU: some environments at a time.

In jaxlib 0.10, a batched LAPACK call blocks a thread of a pool that has one for each core, while parts of the batch
wait for another thread of it. MJX factorises several matrices in a step, which XLA runs side by side, so that with few
cores all threads can wait forever, as two did with 640 environments. Small batches are not split into parts.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import custom_vmap

from rcjax import target

SAFE_BATCH = 64  # environments whose factorisations are not split


def needs_chunks() -> bool:
    """Whether physics on the platform can wait for ever in large batches."""
    return target.platform() == "cpu" and jax.__version_info__ < (0, 11)


def in_chunks(function: Callable[..., Any], size: int = SAFE_BATCH) -> Callable[..., Any]:
    """Returns `function`, of which `vmap` computes at most `size` elements at a time, one chunk after another.

    Where several `vmap`s are nested, this holds for the innermost one.
    """

    @custom_vmap
    def chunked(*arguments: Any) -> Any:
        return function(*arguments)

    @chunked.def_vmap
    def chunked_vmap(axis_size: int, in_batched: Any, *arguments: Any) -> tuple[Any, Any]:
        leaves, tree = jax.tree.flatten(arguments)
        is_batched = jax.tree.leaves(in_batched)
        batched = [leaf for leaf, flag in zip(leaves, is_batched, strict=True) if flag]

        def compute(of_element: list[jax.Array]) -> Any:
            rest = iter(of_element)
            merged = [next(rest) if flag else leaf for leaf, flag in zip(leaves, is_batched, strict=True)]
            return function(*jax.tree.unflatten(tree, merged))

        out = jax.vmap(compute)(batched) if axis_size <= size else jax.lax.map(compute, batched, batch_size=size)
        return out, jax.tree.map(lambda _: True, out)

    return chunked
