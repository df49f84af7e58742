"""The platform that programs are made for, by which the renderer, the physics and S3D choose between equal forms.

It is that of JAX's default backend, unless a program is compiled for another machine, as `benchmarks.aot` does.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Literal

import jax

Platform = Literal["cpu", "gpu", "tpu"]

_chosen: contextvars.ContextVar[Platform | None] = contextvars.ContextVar("rcjax_target", default=None)


def platform() -> str:
    """Returns "cpu", "gpu", "tpu" or another platform of JAX."""
    return _chosen.get() or jax.default_backend()


@contextlib.contextmanager
def compiling_for(platform: Platform) -> Iterator[None]:
    """Makes scenes, environments and traces for this platform inside the context."""
    token = _chosen.set(platform)
    try:
        yield
    finally:
        _chosen.reset(token)
