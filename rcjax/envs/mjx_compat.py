"""A workaround for the compile time of MJX's kinematic chain on CPU, kept separate so that it can be removed in one
place.

MJX walks the body tree level by level in unrolled Python, so level k + 1 reads level k's arrays. XLA's CPU backend
fuses the levels and recomputes each parent inside each child, repeatedly down the chain. A barrier on the carry between
levels prevents that. It changes no number.
"""

import contextlib
import contextvars
import inspect
import warnings
from collections.abc import Iterator

import jax
from mujoco.mjx._src import scan as mjx_scan

from rcjax import target

_EXPECTED_PARAMETERS = ("m", "f", "in_types", "out_types", "args", "reverse")

_enabled: contextvars.ContextVar[bool] = contextvars.ContextVar("rcjax_chain_barriers", default=False)
_original_body_tree = mjx_scan.body_tree


def is_supported() -> bool:
    """Whether the installed MJX still has the `body_tree` that the barriers were written for."""
    return tuple(inspect.signature(_original_body_tree).parameters) == _EXPECTED_PARAMETERS


def _body_tree_with_barriers(m, f, in_types, out_types, *args, reverse=False):
    """MJX's `body_tree`, with an optimization barrier on the carry inside the context `chain_barriers`."""
    if not _enabled.get():
        return _original_body_tree(m, f, in_types, out_types, *args, reverse=reverse)

    def f_after_barrier(carry, *xs):
        if jax.tree.leaves(carry):
            carry = jax.lax.optimization_barrier(carry)
        return f(carry, *xs)

    return _original_body_tree(m, f_after_barrier, in_types, out_types, *args, reverse=reverse)


@contextlib.contextmanager
def chain_barriers(enabled: bool = True) -> Iterator[None]:
    """Traces MJX calls inside this context with barriers between the levels of the body tree.

    The context acts at trace time: a compiled program keeps the barriers with which it was traced. Code outside the
    context gets MJX as it is. If MJX's `body_tree` has another signature, this warns and does nothing.
    """
    if enabled and not is_supported():
        warnings.warn(
            "mujoco.mjx's body_tree has changed: compiling for CPU may be slow without its barriers.",
            stacklevel=3,
        )
        enabled = False
    if enabled:
        mjx_scan.body_tree = _body_tree_with_barriers
    token = _enabled.set(enabled)
    try:
        yield
    finally:
        _enabled.reset(token)


def are_needed() -> bool:
    """Whether programs of this process should have the barriers: only those for a CPU."""
    return target.platform() == "cpu"
