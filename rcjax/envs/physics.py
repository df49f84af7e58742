"""One control step of physics on MJX, with the kinematics of the resulting state."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from mujoco import mjx

from rcjax.envs import mjx_compat
from rcjax.pytree import PyTree

# The simulation has exploded if anything moves faster. On random walks in all fifty tasks, official objects reach 4.7
# metres per second (box-close's lid) and 46 radians per second (stick-pull's stick), the arm's joints 15.
MAX_SPEED = 10.0  # metres per second, of slide joints and free bodies
MAX_SPIN = 100.0  # radians per second


class Poses(PyTree):
    """World poses that one pass of forward kinematics yields, in metres, of `B` bodies, `G` geoms and `P` sites."""

    body_pos: Float[Array, "*batch B 3"]
    body_quat: Float[Array, "*batch B 4"]  # w x y z
    geom_pos: Float[Array, "*batch G 3"]
    geom_mat: Float[Array, "*batch G 3 3"]
    site_pos: Float[Array, "*batch P 3"]


class PhysicsState(PyTree):
    """The state of physics: generalised positions and velocities, the solver's warm start, mocap bodies, and the poses
    that follow from them."""

    qpos: Float[Array, "*batch Q"]
    qvel: Float[Array, "*batch V"]
    qacc_warmstart: Float[Array, "*batch V"]
    mocap_pos: Float[Array, "*batch M 3"]
    mocap_quat: Float[Array, "*batch M 4"]
    poses: Poses


@dataclasses.dataclass(frozen=True)
class Lead:
    """A mocap body that is always a step ahead of the body that is welded to it, wherever that has come to.

    Before each physics step it is put at the body's position and orientation (those that the last physics step began
    with), moved by an offset, and turned by a share of the way to an orientation. Offset and orientation are the last
    seven numbers of the controls.

    Args:
        mocap: the row of the leading body in mocap_pos and mocap_quat.
        body: the number of the body that is led.
        share: the share of the way, of the difference of quaternions, which are not normalised afterwards.
        stiffness: the acceleration for a distance of 1 metre between the two, in 1/s^2, which the weld asks for.
    """

    mocap: int
    body: int
    share: float
    stiffness: float

    def ahead(self, pos: Any, quat: Any, offset_and_goal: Any) -> tuple[Any, Any]:
        """Returns position and quaternion of the leading body; of NumPy's or JAX's arrays."""
        return pos + offset_and_goal[:3], quat + self.share * (offset_and_goal[3:] - quat)


def simulate(
    model: mjx.Model,
    physics: PhysicsState,
    ctrl: Float[Array, " U"],
    *,
    substeps: int,
    barriers: bool = False,
    lead: Lead | None = None,
) -> PhysicsState:
    """Returns the state after `substeps` physics steps with the same controls `ctrl`.

    The mocap bodies stay where `physics` has them, except for that of `lead`. Only positions, velocities and the warm
    start are carried from substep to substep. `barriers` are explained in `mjx_compat`.
    """
    with mjx_compat.chain_barriers(barriers):
        model = place_mocap_bodies(model, physics.mocap_pos, physics.mocap_quat)
        data = mjx.make_data(model, impl="jax")
        data = data.replace(mocap_pos=physics.mocap_pos, mocap_quat=physics.mocap_quat, ctrl=ctrl[: model.nu])

        def substep(carry, _):
            (qpos, qvel, qacc_warmstart), led = carry
            before = data.replace(qpos=qpos, qvel=qvel, qacc_warmstart=qacc_warmstart)
            if lead is not None and led is not None:
                before = _put_ahead(lead, before, led, ctrl[model.nu :])
            after = mjx.step(model, before)
            return ((after.qpos, after.qvel, after.qacc_warmstart), _led(lead, after.xpos, after.xquat)), None

        carry = (physics.qpos, physics.qvel, physics.qacc_warmstart)
        led = _led(lead, physics.poses.body_pos, physics.poses.body_quat)
        ((qpos, qvel, qacc_warmstart), _), _ = jax.lax.scan(substep, (carry, led), length=substeps)
        poses = poses_of(mjx.kinematics(model, data.replace(qpos=qpos)))
    return physics.replace(qpos=qpos, qvel=qvel, qacc_warmstart=qacc_warmstart, poses=poses)


def _led(
    lead: Lead | None, body_pos: Float[Array, "B 3"], body_quat: Float[Array, "B 4"]
) -> tuple[Array, Array] | None:
    """Returns the pose of the body that is led, or None if there is none."""
    return None if lead is None else (body_pos[lead.body], body_quat[lead.body])


def _put_ahead(lead: Lead, data: mjx.Data, led: tuple[Array, Array], offset_and_goal: Float[Array, " 7"]) -> mjx.Data:
    pos, quat = lead.ahead(*led, offset_and_goal)
    return data.replace(
        mocap_pos=data.mocap_pos.at[lead.mocap].set(pos), mocap_quat=data.mocap_quat.at[lead.mocap].set(quat)
    )


def place_mocap_bodies(model: mjx.Model, mocap_pos: Float[Array, "M 3"], mocap_quat: Float[Array, "M 4"]) -> mjx.Model:
    """Returns the model with the frames of its mocap bodies at their mocap poses.

    C MuJoCo moves the children of a mocap body with it. MJX's `jax` backend moves only the body itself and leaves its
    children at the model's `body_pos`, so that is set too.
    """
    rows = np.nonzero(model.body_mocapid >= 0)[0]
    order = model.body_mocapid[rows]
    quat = mocap_quat / jnp.linalg.norm(mocap_quat, axis=-1, keepdims=True)
    return model.replace(
        body_pos=model.body_pos.at[rows].set(mocap_pos[order]),
        body_quat=model.body_quat.at[rows].set(quat[order]),
    )


def poses_of(data: mjx.Data | mujoco.MjData) -> Poses:
    """Returns the poses in MJX or C MuJoCo data whose kinematics are up to date; float32."""
    return Poses(
        body_pos=jnp.asarray(data.xpos, jnp.float32),
        body_quat=jnp.asarray(data.xquat, jnp.float32),
        geom_pos=jnp.asarray(data.geom_xpos, jnp.float32),
        geom_mat=jnp.asarray(data.geom_xmat, jnp.float32).reshape(*data.geom_xpos.shape, 3),
        site_pos=jnp.asarray(data.site_xpos, jnp.float32),
    )


def physics_of(data: mujoco.MjData) -> PhysicsState:
    """Returns the physics state of C MuJoCo's `data`, whose kinematics are up to date; float32."""
    return PhysicsState(
        qpos=jnp.asarray(data.qpos, jnp.float32),
        qvel=jnp.asarray(data.qvel, jnp.float32),
        qacc_warmstart=jnp.asarray(data.qacc_warmstart, jnp.float32),
        mocap_pos=jnp.asarray(data.mocap_pos, jnp.float32),
        mocap_quat=jnp.asarray(data.mocap_quat, jnp.float32),
        poses=poses_of(data),
    )


def speed_limits(model: mujoco.MjModel) -> Float[np.ndarray, " V"]:
    """Returns `MAX_SPEED` or `MAX_SPIN` for each degree of freedom: anything faster counts as an explosion."""
    limits = np.full(model.nv, MAX_SPIN, np.float32)
    for joint in range(model.njnt):
        first = model.jnt_dofadr[joint]
        if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
            limits[first : first + 3] = MAX_SPEED
        elif model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            limits[first] = MAX_SPEED
    return limits


def is_stable(physics: PhysicsState, limits: Float[np.ndarray | Array, " V"]) -> Bool[Array, ""]:
    """Whether everything is finite and every speed is below its limit (see `speed_limits`)."""
    return all_finite(physics) & jnp.all(jnp.abs(physics.qvel) < limits)


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether all floating-point leaves of a pytree are finite."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
