"""The same environments stepped by C MuJoCo on the host: the oracle of MJX's physics, and for trying out a scene
without compiling MJX.

Model, control, observation and reward are those of the environment; only the physics is computed by C MuJoCo.
"""

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import jax
import mujoco
import numpy as np
from jax import Array

from rcjax.envs.experts import Step
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams, EnvState
from rcjax.envs.physics import PhysicsState, physics_of

DATA_FIELDS = (
    *("qpos", "qvel", "qacc_warmstart", "mocap_pos", "mocap_quat"),
    *("xpos", "xquat", "geom_xpos", "geom_xmat", "site_xpos"),
)
"""The arrays of C MuJoCo's data that `physics_of` reads."""


def make_c_step(env: SawyerEnv, params: EnvParams, start: EnvState) -> Step:
    """Returns a step of C MuJoCo's physics for the episodes that start from the batch `start`.

    It is a `make_step` of `experts.run_policy`. It keeps the episodes' MuJoCo data, so each call continues them.
    """
    control, finish_step = _compiled(env)
    # What follows the physics reads no model, and JAX would hash its metadata at every call.
    params = params.replace(mjx_model=None)
    batch = [mujoco.MjData(env.mj_model) for _ in range(len(start.time))]

    def load_episode(i: int, state: EnvState) -> None:
        load_state(env.mj_model, batch[i], jax.tree.map(lambda leaf: np.asarray(leaf[i]), state.physics))

    for i in range(len(batch)):
        load_episode(i, start)

    def advance(state: EnvState, action: np.ndarray):
        driven, ctrl = jax.device_get(control(state.physics, action))
        for i, data in enumerate(batch):
            data.mocap_pos[:], data.mocap_quat[:], data.ctrl[:] = driven.mocap_pos[i], driven.mocap_quat[i], ctrl[i]
            step(env, data)
        next_physics = physics_of_batch(batch)
        obs, state, reward, _, info = finish_step(state, next_physics, action, params)
        for i in np.flatnonzero(info["diverged"]):
            load_episode(int(i), state)
        return obs, state, reward, info

    return advance


def physics_of_batch(batch: Sequence[mujoco.MjData]) -> PhysicsState:
    """Returns `physics_of` each data of the batch, stacked along a leading axis.

    Each array is copied to the device once, not once per data.
    """
    arrays = {name: np.asarray([getattr(data, name) for data in batch], np.float32) for name in DATA_FIELDS}
    return _physics_of_arrays(arrays)


@jax.jit
def _physics_of_arrays(arrays: dict[str, Array]) -> PhysicsState:
    return physics_of(cast(mujoco.MjData, SimpleNamespace(**arrays)))


def load_state(model: mujoco.MjModel, data: mujoco.MjData, state: PhysicsState) -> None:
    """Sets C MuJoCo's `data` to `state`, which has no batch axis, and brings the kinematics up to date."""
    mujoco.mj_resetData(model, data)
    for name in ("qpos", "qvel", "qacc_warmstart", "mocap_pos", "mocap_quat"):
        getattr(data, name)[:] = getattr(state, name)
    mujoco.mj_kinematics(model, data)


def step(env: SawyerEnv, data: mujoco.MjData) -> None:
    """Advances `data` by one control step, and brings the kinematics up to date."""
    mujoco.mj_step(env.mj_model, data, nstep=env.frame_skip)
    mujoco.mj_kinematics(env.mj_model, data)


@functools.lru_cache(maxsize=16)
def _compiled(env: SawyerEnv):
    """Returns the batched `control` and `finish_step`. On CPU, without XLA's slow optimizations."""
    compiler_options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return (
        jax.jit(jax.vmap(env.control), compiler_options=compiler_options),
        jax.jit(jax.vmap(env.finish_step, in_axes=(0, 0, 0, None)), compiler_options=compiler_options),
    )
