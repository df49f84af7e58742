"""One batch for nested `vmap`s, for physics that has to know how many environments it steps at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import custom_vmap
from jaxtyping import Float
from mujoco import mjx

from rcjax.envs.physics import PhysicsState

Simulate = Callable[[mjx.Model, PhysicsState, Float[Array, "*n U"]], PhysicsState]
"""Maps a model, states and controls to the states after a control step"""


def flatten_vmaps(simulate_batch: Simulate, backend: str) -> Simulate:
    """Returns a function of one environment, whose nested `vmap`s become one call of `simulate_batch`.

    Args:
        simulate_batch: Steps environments along a leading axis, all with the same model.
        backend: Its name, for the error that a `vmap` over models raises (ValueError).
    """

    @custom_vmap
    def batch(model, state, ctrl):
        return simulate_batch(model, state, ctrl)

    @batch.def_vmap
    def _(size, batched, model, state, ctrl):
        _require_one_model(batched[0], backend)
        state, ctrl = _broadcast(size, batched[1:], (state, ctrl))
        n = ctrl.shape[1]
        flat = jax.tree.map(lambda x: x.reshape(size * n, *x.shape[2:]), (state, ctrl))
        next_state = jax.tree.map(lambda x: x.reshape(size, n, *x.shape[1:]), batch(model, *flat))
        return next_state, jax.tree.map(lambda _: True, next_state)

    @custom_vmap
    def simulate(model, state, ctrl):
        batch_of_one = jax.tree.map(lambda x: x[None], (state, ctrl))
        return jax.tree.map(lambda x: x[0], batch(model, *batch_of_one))

    @simulate.def_vmap
    def _(size, batched, model, state, ctrl):
        _require_one_model(batched[0], backend)
        next_state = batch(model, *_broadcast(size, batched[1:], (state, ctrl)))
        return next_state, jax.tree.map(lambda _: True, next_state)

    return simulate


def _require_one_model(batched: Any, backend: str) -> None:
    """Raises ValueError if any leaf of the model is batched."""
    if any(jax.tree.leaves(batched)):
        raise ValueError(f"A batch of different models cannot be simulated by backend={backend!r}; use backend='jax'.")


def _broadcast(size: int, batched: Any, tree: Any) -> Any:
    """Returns `tree` with a leading axis of `size` also for leaves that are not batched."""
    return jax.tree.map(
        lambda is_batched, x: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)), tuple(batched), tree
    )
