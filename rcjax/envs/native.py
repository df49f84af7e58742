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

from rcjax.envs.experts import Policy, PolicyRun, check_indices, expert_policy, stack_history
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams
from rcjax.envs.physics import PhysicsState, physics_of


def run_expert(env: SawyerEnv, params: EnvParams, indices: Sequence[int], steps: int = 128) -> PolicyRun:
    """`experts.run_expert` with C MuJoCo's physics."""
    return run_policy(env, params, expert_policy(env.name), indices, steps)


def run_policy(
    env: SawyerEnv, params: EnvParams, policy: Policy, indices: Sequence[int], steps: int = 128
) -> PolicyRun:
    """`experts.run_policy` with C MuJoCo's physics.

    Raises ValueError for an index outside the bank.
    """
    rows = check_indices(indices, params)
    reset_at, control, land, obs_with_goal = _compiled(env)
    obs, state = reset_at(jnp.asarray(rows), params)
    worlds = [mujoco.MjData(env.mj_model) for _ in rows]
    for i, data in enumerate(worlds):
        load(env.mj_model, data, jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), state.physics))
    history = []
    for _ in range(steps):
        wanted = policy(np.asarray(obs_with_goal(state), np.float64))
        action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        held, ctrl = jax.device_get(control(state.physics, action))
        for i, data in enumerate(worlds):
            data.mocap_pos[:], data.mocap_quat[:], data.ctrl[:] = held.mocap_pos[i], held.mocap_quat[i], ctrl[i]
            step(env, data)
        moved = jax.tree.map(lambda *leaves: np.stack(leaves), *[physics_of(data) for data in worlds])
        next_obs, state, reward, _, info = land(state, moved, action, params)
        for i in np.nonzero(np.asarray(info["diverged"]))[0]:
            load(env.mj_model, worlds[i], jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), state.physics))
        poses = env.geom_poses(state)
        history.append(jax.device_get((obs, action, reward, info["success"] > 0, poses.pos, poses.mat)))
        obs = next_obs
    return stack_history(history)


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
        jax.jit(jax.vmap(env.reset_env_at, in_axes=(0, None))),
        jax.jit(jax.vmap(env.control), compiler_options=quick),
        jax.jit(jax.vmap(env.land, in_axes=(0, 0, 0, None)), compiler_options=quick),
        jax.jit(jax.vmap(env.obs_with_goal)),
    )
