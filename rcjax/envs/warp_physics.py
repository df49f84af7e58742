"""MJX-Warp as the physics backend: NVIDIA GPUs through CUDA, and CPUs through Warp's own target.

Warp keeps the contacts of all worlds in one buffer, sized when the program is traced, and drops what does not fit.
So the batch has to be known there: `simulate` is batched by a rule of its own, which sees its size.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp
import mujoco
from jax import Array
from jax.custom_batching import custom_vmap
from jaxtyping import Float
from mujoco import mjx

from rcjax.envs.physics import PhysicsState, poses_of

Simulate = Callable[[mjx.Model, PhysicsState, Float[Array, " U"]], PhysicsState]


def check_installed() -> None:
    """Raises ValueError without Warp."""
    if importlib.util.find_spec("warp") is None:
        raise ValueError("backend='warp' and renderer='warp' need MJX-Warp: pip install 'rcjax[warp]', or use 'jax'.")


def contact_capacity(model: mujoco.MjModel) -> tuple[int, int]:
    """The most contacts and constraint rows that one world can have: all pairs of the scene at once.

    The `jax` backend always computes them all, so it is asked.
    """
    data = mjx.make_data(model, impl="jax", device=jax.local_devices()[0])
    return int(data._impl.ncon), int(data._impl.nefc)


def put_model(mj_model: mujoco.MjModel) -> mjx.Model:
    """`mjx.put_model` for Warp, silent about the solver's limit of iterations: scenes reach it on purpose, and Warp
    would print a line each time."""
    from mujoco.mjx.third_party.mujoco_warp import OverflowType

    model = mjx.put_model(mj_model, impl="warp")
    wanted = int(model.opt._impl.warn_overflow & ~OverflowType.ITERATIONS)
    return cast(mjx.Model, model.tree_replace({"opt._impl.warn_overflow": wanted}))


def make_simulate(mj_model: mujoco.MjModel, substeps: int) -> Simulate:
    """`physics.simulate` on MJX-Warp. The model it is given is `put_model`'s.

    Nested `vmap`s are flattened into one batch of worlds.
    """
    contacts, rows = contact_capacity(mj_model)

    def one_world(model, empty, state, ctrl):
        data = empty.replace(
            qpos=state.qpos, qvel=state.qvel, qacc_warmstart=state.qacc_warmstart,
            mocap_pos=state.mocap_pos, mocap_quat=state.mocap_quat, ctrl=ctrl,
        )  # fmt: skip
        data, _ = jax.lax.scan(lambda data, _: (mjx.step(model, data), None), data, length=substeps)
        moved = {name: getattr(data, name) for name in ("qpos", "qvel", "qacc_warmstart")}
        return state.replace(**moved, poses=poses_of(mjx.kinematics(model, data)))

    @custom_vmap
    def worlds(model, state, ctrl):
        """Over a leading axis of worlds."""
        n = ctrl.shape[0]
        empty = mjx.make_data(mj_model, impl="warp", naconmax=max(contacts, 1) * n, njmax=rows)
        return jax.vmap(functools.partial(one_world, model, empty))(state, ctrl)

    @worlds.def_vmap
    def _(size, batched, model, state, ctrl):
        _check_model_is_shared(batched[0])
        state, ctrl = _broadcast(size, batched[1:], (state, ctrl))
        n = ctrl.shape[1]
        flat = jax.tree.map(lambda x: x.reshape(size * n, *x.shape[2:]), (state, ctrl))
        moved = jax.tree.map(lambda x: x.reshape(size, n, *x.shape[1:]), worlds(model, *flat))
        return moved, jax.tree.map(lambda _: True, moved)

    @custom_vmap
    def simulate(model, state, ctrl):
        alone = jax.tree.map(lambda x: x[None], (state, ctrl))
        return jax.tree.map(lambda x: x[0], worlds(model, *alone))

    @simulate.def_vmap
    def _(size, batched, model, state, ctrl):
        _check_model_is_shared(batched[0])
        moved = worlds(model, *_broadcast(size, batched[1:], (state, ctrl)))
        return moved, jax.tree.map(lambda _: True, moved)

    return simulate


def _check_model_is_shared(batched) -> None:
    if any(jax.tree.leaves(batched)):
        raise ValueError("A batch of different models cannot be simulated by backend='warp'; use backend='jax'.")


def _broadcast(size: int, batched, tree):
    return jax.tree.map(
        lambda is_batched, x: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)), tuple(batched), tree
    )
