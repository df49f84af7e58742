"""MJX-Warp as the physics backend, on NVIDIA GPUs through CUDA and on CPUs through Warp's CPU target.

Warp keeps the contacts of all worlds in one buffer, whose size is fixed when the program is traced, and drops contacts
that do not fit. So the batch size has to be known then (`flat_batch`).
"""

import functools
import importlib.util
from typing import Any, cast

import jax
import mujoco
from mujoco import mjx

from rcjax.envs.flat_batch import Simulate, flatten_vmaps
from rcjax.envs.physics import poses_of


def check_installed() -> None:
    """Raises ValueError if Warp is not installed."""
    if importlib.util.find_spec("warp") is None:
        raise ValueError("backend='warp' and renderer='warp' need MJX-Warp: pip install 'rcjax[warp]', or use 'jax'.")


def contact_capacity(model: mujoco.MjModel) -> tuple[int, int]:
    """Returns the largest numbers of contacts and of constraint rows of one world: all pairs of the scene at once.

    The `jax` backend always computes all of them, so its data has these numbers.
    """
    data = mjx.make_data(model, impl="jax", device=jax.local_devices()[0])
    implementation = cast(Any, data._impl)  # a class that MJX keeps private
    return int(implementation.ncon), int(implementation.nefc)


def put_model(mj_model: mujoco.MjModel) -> mjx.Model:
    """Returns the MJX model for Warp, without warnings about the iteration limits of the solver and its line search.

    Scenes reach these limits on purpose, and Warp would print a line each time.
    """
    from mujoco.mjx.third_party.mujoco_warp import OverflowType

    model = mjx.put_model(mj_model, impl="warp")
    expected = OverflowType.ITERATIONS | OverflowType.LS_ITERATIONS
    warnings = int(cast(Any, model.opt._impl).warn_overflow & ~expected)
    return cast(mjx.Model, model.tree_replace({"opt._impl.warn_overflow": warnings}))


def make_simulate(mj_model: mujoco.MjModel, substeps: int) -> Simulate:
    """Returns `physics.simulate` on MJX-Warp for models from `put_model`.

    Nested `vmap`s are flattened into one batch of worlds.
    """
    contacts, rows = contact_capacity(mj_model)

    def one_world(model, empty, state, ctrl):
        data = empty.replace(
            qpos=state.qpos, qvel=state.qvel, qacc_warmstart=state.qacc_warmstart,
            mocap_pos=state.mocap_pos, mocap_quat=state.mocap_quat, ctrl=ctrl,
        )  # fmt: skip
        data, _ = jax.lax.scan(lambda data, _: (mjx.step(model, data), None), data, length=substeps)
        after = {name: getattr(data, name) for name in ("qpos", "qvel", "qacc_warmstart")}
        return state.replace(**after, poses=poses_of(mjx.kinematics(model, data)))

    def worlds(model, state, ctrl):
        n = ctrl.shape[0]
        empty = mjx.make_data(mj_model, impl="warp", naconmax=max(contacts, 1) * n, njmax=rows)
        return jax.vmap(functools.partial(one_world, model, empty))(state, ctrl)

    return flatten_vmaps(worlds, "warp")
