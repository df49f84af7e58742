"""The same environments stepped by C MuJoCo on the host: the oracle of MJX's physics, and a way to try a scene
without compiling MJX.

Model, control, observation and reward are the environment's own; only the physics between is C.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from rcjax.envs.experts import Step
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams, EnvState
from rcjax.envs.physics import PhysicsState, Poses


def c_step(env: SawyerEnv, params: EnvParams, start: EnvState) -> Step:
    """For `experts.run_policy`: C MuJoCo's physics for the episodes that begin with `start`."""
    control, land = _compiled(env)
    worlds = [mujoco.MjData(env.mj_model) for _ in range(len(start.time))]

    def load_world(i: int, state: EnvState) -> None:
        load(env.mj_model, worlds[i], jax.tree.map(lambda leaf: np.asarray(leaf[i]), state.physics))

    for i in range(len(worlds)):
        load_world(i, start)

    def advance(state: EnvState, action: np.ndarray):
        held, ctrl = jax.device_get(control(state.physics, action))
        for i, data in enumerate(worlds):
            data.mocap_pos[:], data.mocap_quat[:], data.ctrl[:] = held.mocap_pos[i], held.mocap_quat[i], ctrl[i]
            step(env, data)
        moved = physics_of_all(worlds)
        obs, state, reward, _, info = land(state, moved, action, params)
        for i in np.flatnonzero(info["diverged"]):
            load_world(int(i), state)
        return obs, state, reward, info

    return advance


def physics_of_all(worlds: Sequence[mujoco.MjData]) -> PhysicsState:
    """`physics_of` each of the worlds, stacked. Each array goes to the device once, not once a world."""

    def stacked(name: str) -> jax.Array:
        return jnp.asarray(np.stack([getattr(data, name) for data in worlds]), jnp.float32)

    poses = Poses(
        body_pos=stacked("xpos"),
        body_quat=stacked("xquat"),
        geom_pos=stacked("geom_xpos"),
        geom_mat=stacked("geom_xmat").reshape(len(worlds), -1, 3, 3),
        site_pos=stacked("site_xpos"),
    )
    return PhysicsState(
        qpos=stacked("qpos"),
        qvel=stacked("qvel"),
        qacc_warmstart=stacked("qacc_warmstart"),
        mocap_pos=stacked("mocap_pos"),
        mocap_quat=stacked("mocap_quat"),
        poses=poses,
    )


def load(model: mujoco.MjModel, data: mujoco.MjData, state: PhysicsState) -> None:
    """Put C's `data` into `state`, kinematics included."""
    mujoco.mj_resetData(model, data)
    for name in ("qpos", "qvel", "qacc_warmstart", "mocap_pos", "mocap_quat"):
        getattr(data, name)[:] = getattr(state, name)
    mujoco.mj_kinematics(model, data)


def step(env: SawyerEnv, data: mujoco.MjData) -> None:
    """One control step, with the kinematics of where it leads."""
    mujoco.mj_step(env.mj_model, data, nstep=env.frame_skip)
    mujoco.mj_kinematics(env.mj_model, data)


@functools.lru_cache(maxsize=16)
def _compiled(env: SawyerEnv):
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return (
        jax.jit(jax.vmap(env.control), compiler_options=quick),
        jax.jit(jax.vmap(env.land, in_axes=(0, 0, 0, None)), compiler_options=quick),
    )
