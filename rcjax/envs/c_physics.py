"""C MuJoCo as the physics backend. It is made for CPUs, where it takes a fraction of the time of MJX's operations.

The compiled program calls the host at each control step. On a CPU that is where its arrays are; on an accelerator each
step would wait for the host. Such a program is compiled in less time, but JAX does not keep it in its cache.
"""

import copy
import functools
from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float
from mujoco import mjx

from rcjax.envs.flat_batch import Simulate, flatten_vmaps
from rcjax.envs.physics import Lead, PhysicsState, poses_of

MAX_BYTES = 2**16
"""The most that the host is given in one call. JAX puts what a call is given on a device again, and from about 100 kB
on it copies in a thread of the pool whose threads all wait for their calls: two devices with 2 MB each waited for ever.
"""

STATE = (
    mujoco.mjtState.mjSTATE_QPOS,
    mujoco.mjtState.mjSTATE_QVEL,
    mujoco.mjtState.mjSTATE_WARMSTART,
    mujoco.mjtState.mjSTATE_CTRL,
    mujoco.mjtState.mjSTATE_MOCAP_POS,
    mujoco.mjtState.mjSTATE_MOCAP_QUAT,
)
"""What determines a step, in the order in which `mj_setState` takes it"""
_AFTER = ("qpos", "qvel", "qacc_warmstart", "xpos", "xquat", "geom_xpos", "geom_xmat", "site_xpos")
"""The arrays of MuJoCo's data that a step returns"""


def make_simulate(mj_model: mujoco.MjModel, substeps: int, lead: Lead | None = None) -> Simulate:
    """Returns `physics.simulate` on C MuJoCo, for the model `mj_model`, in double precision within a control step.

    The MJX model that it is given is not read, so changes of it have no effect. The host steps one environment after
    another, so that each of several devices keeps one core busy.
    """
    stepper = Stepper(mj_model, substeps, lead)
    after = jax.ShapeDtypeStruct((stepper.size_after,), jnp.float32)

    def on_host(packed: Float[Array, " K"]) -> Float[Array, " M"]:
        return jax.pure_callback(stepper, after, packed, vmap_method="broadcast_all")

    def simulate_batch(_: mjx.Model, state: PhysicsState, ctrl: Float[Array, "n U"]) -> PhysicsState:
        packed = jax.vmap(stepper.pack)(state, ctrl)
        at_once = max(1, MAX_BYTES // (packed.itemsize * packed.shape[1]))
        in_parts = functools.partial(jax.lax.map, on_host, batch_size=at_once)
        stepped = (in_parts if len(ctrl) > at_once else jax.vmap(on_host))(packed)
        return jax.vmap(stepper.unpack)(stepped, state)

    return flatten_vmaps(simulate_batch, "c")


def load_state(model: mujoco.MjModel, data: mujoco.MjData, state: PhysicsState) -> None:
    """Sets C MuJoCo's `data` to `state`, which has no batch axis, and brings the kinematics up to date."""
    mujoco.mj_resetData(model, data)
    for name in ("qpos", "qvel", "qacc_warmstart", "mocap_pos", "mocap_quat"):
        getattr(data, name)[:] = getattr(state, name)
    mujoco.mj_kinematics(model, data)


def step(model: mujoco.MjModel, data: mujoco.MjData, substeps: int) -> None:
    """Advances `data` by one control step, and brings the kinematics up to date."""
    mujoco.mj_step(model, data, nstep=substeps)
    mujoco.mj_kinematics(model, data)


def step_led(
    model: mujoco.MjModel, data: mujoco.MjData, substeps: int, lead: Lead, offset_and_goal: Float[np.ndarray, " 7"]
) -> None:
    """As `step`, with a leading body.

    C MuJoCo adds the change of the weld's Jacobian to the acceleration that the weld asks for. MJX does not, nor
    did the MuJoCo of RoboCLIP's release. The leading body is moved so that the two cancel out.
    """
    mujoco.mj_kinematics(model, data)
    led = data.xpos[lead.body].copy(), data.xquat[lead.body].copy()
    for _ in range(substeps):
        pos, quat = lead.ahead(*led, offset_and_goal)
        linear, angular = _jacobian_change(model, data, lead.body)
        led = data.xpos[lead.body].copy(), data.xquat[lead.body].copy()
        data.mocap_pos[lead.mocap] = pos + linear / lead.stiffness
        turn = np.concatenate([[1.0], 0.5 * angular / lead.stiffness])
        mujoco.mju_mulQuat(data.mocap_quat[lead.mocap], turn, quat)
        mujoco.mj_step(model, data)
    mujoco.mj_kinematics(model, data)


def _jacobian_change(
    model: mujoco.MjModel, data: mujoco.MjData, body: int
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """Returns a body's linear and angular acceleration if no joint's velocity changes; updates the kinematics."""
    for update in (mujoco.mj_kinematics, mujoco.mj_comPos, mujoco.mj_comVel):
        update(model, data)
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jacDot(model, data, linear, angular, data.xpos[body], body)
    return linear @ data.qvel, angular @ data.qvel


class Stepper:
    """Takes control steps on the host, given states and controls as `pack` lays them out.

    Each thread has MuJoCo data of its own.
    """

    def __init__(self, mj_model: mujoco.MjModel, substeps: int, lead: Lead | None):
        self._lead = lead
        self._model = _without_reset(mj_model)
        self._substeps = substeps
        self._spec = sum(int(part) for part in STATE)
        self._state_size = mujoco.mj_stateSize(mj_model, self._spec)
        self._idle: list[tuple[mujoco.MjData, list[np.ndarray]]] = []
        self._shapes = {name: getattr(mujoco.MjData(mj_model), name).shape for name in _AFTER}
        self._ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes.values()])
        self.size_after = int(self._ends[-1])

    def pack(self, state: PhysicsState, ctrl: Float[Array, " U"]) -> Float[Array, " K"]:
        """Returns a state and controls in the order of `STATE`, and then what leads (see `Lead`)."""
        to_actuators, to_lead = jnp.split(ctrl, [self._model.nu])
        before = (
            state.qpos, state.qvel, state.qacc_warmstart, to_actuators, state.mocap_pos, state.mocap_quat, to_lead,
        )  # fmt: skip
        return jnp.concatenate([part.reshape(-1) for part in before])

    def __call__(self, packed: Float[Array | np.ndarray, "*batch K"]) -> Float[np.ndarray, "*batch M"]:
        """Returns what `unpack` takes."""
        before = np.asarray(packed, np.float64)
        after = np.empty((*before.shape[:-1], self.size_after), np.float32)
        try:
            data, parts = worker = self._idle.pop()
        except IndexError:
            data, parts = worker = self._new_worker()
        for index in np.ndindex(before.shape[:-1]):
            row = before[index]
            mujoco.mj_setState(self._model, data, row[: self._state_size], self._spec)
            if self._lead is None:
                step(self._model, data, self._substeps)
            else:
                step_led(self._model, data, self._substeps, self._lead, row[self._state_size :])
            np.concatenate(parts, out=after[index], casting="same_kind")
        self._idle.append(worker)
        return after

    def _new_worker(self) -> tuple[mujoco.MjData, list[np.ndarray]]:
        """Returns MuJoCo data, and flat views of its arrays that a step returns."""
        data = mujoco.MjData(self._model)
        return data, [getattr(data, name).reshape(-1) for name in _AFTER]

    def unpack(self, after: Float[Array, " M"], before: PhysicsState) -> PhysicsState:
        """Returns the state after a step from `before`."""
        parts = jnp.split(after, self._ends[:-1])
        arrays = {name: part.reshape(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}
        poses = poses_of(cast(mujoco.MjData, SimpleNamespace(**arrays)))
        return before.replace(**{name: arrays[name] for name in ("qpos", "qvel", "qacc_warmstart")}, poses=poses)


def _without_reset(mj_model: mujoco.MjModel) -> mujoco.MjModel:
    """Returns a copy of the model with which MuJoCo leaves a diverged state as it is, for `finish_step` to see it."""
    model = copy.copy(mj_model)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    return model
