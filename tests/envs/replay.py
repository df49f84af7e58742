"""Records official episodes, and computes our observations and rewards for the same states."""

from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from rcjax.envs.experts import expert_policy
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.physics import PhysicsState, physics_of
from tests.envs.official import reset_to

STEPS = 100
DATA_FIELDS = (
    *("qpos", "qvel", "qacc_warmstart", "mocap_pos", "mocap_quat"),
    *("xpos", "xquat", "geom_xpos", "geom_xmat", "site_xpos"),
)
"""The arrays of C MuJoCo's data that `physics_of` reads"""
FAST_COMPILATION = {"xla_backend_optimization_level": 0}  # most of the time is compilation


def episode_actions(task: str, episode: int):
    """Returns the policy of an episode: a random walk in odd ones, and in even ones the expert, in every other of these
    with noise."""
    draw, expert = np.random.default_rng(episode), expert_policy(task)
    walk = np.cumsum(draw.normal(size=(STEPS, 4)) / 2, axis=0)

    def act(obs: np.ndarray, t: int) -> np.ndarray:
        if episode % 2:
            return np.clip(walk[t], -1.5, 1.5)
        noise = draw.normal(size=4) * 0.3 * (episode % 4 == 2)
        return np.clip(expert(obs[None])[0] + noise, -1, 1)

    return act


def record(env: SawyerEnv, official: SawyerXYZEnv, n_episodes: int) -> dict[str, np.ndarray]:
    """Returns arrays [STEPS, n_episodes, ...] of what the official environment returned, and of our kinematics of its
    states."""
    placed = [(env.mocap_id(name), name) for name in env.scene.placed_bodies]
    data = mujoco.MjData(env.mj_model)
    assert env.mj_model.nq == official.model.nq
    episodes = []
    for episode in range(n_episodes):
        official.reward_function_version = "v1"  # only then does assembly's reset prepare what its version 1 needs
        obs = reset_to(official, env.random_vector(episode))
        official.reward_function_version = "v2"
        act, rows, batch = episode_actions(env.task, episode), [], []
        for t in range(STEPS):
            action = act(obs, t).astype(np.float32)
            obs, reward, _, _, info = official.step(action)
            data.qpos[:] = official.data.qpos
            for i, name in placed:
                data.mocap_pos[i], data.mocap_quat[i] = official.data.body(name).xpos, official.data.body(name).xquat
            mujoco.mj_kinematics(env.mj_model, data)
            batch.append(SimpleNamespace(**{name: getattr(data, name).copy() for name in DATA_FIELDS}))
            rows.append(
                {
                    "action": action,
                    "obs": obs,
                    "contacts": official.data.ncon,
                    "v2": {"reward": reward, **_numbers(info)},
                    "v1": official_v1(official, obs, action),
                }
            )
        episodes.append(_stack(rows) | {"physics": physics_of_batch(batch)})
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *episodes)


def physics_of_batch(batch: list[SimpleNamespace]) -> PhysicsState:
    """Returns `physics_of` each data of the batch, stacked along a leading axis."""
    arrays = {name: np.asarray([getattr(data, name) for data in batch], np.float32) for name in DATA_FIELDS}
    return _physics_of_arrays(arrays)


@jax.jit
def _physics_of_arrays(arrays: dict[str, jax.Array]) -> PhysicsState:
    return physics_of(cast(mujoco.MjData, SimpleNamespace(**arrays)))


def official_v1(official, obs, action) -> dict[str, np.ndarray]:
    """Returns the version "v1" reward and info of the same state; NaN where Metaworld's own code fails."""
    official.reward_function_version = "v1"
    try:
        reward, info = official.evaluate_state(obs, action)
        return {"reward": np.asarray(float(reward)), **_numbers(info)}
    except (AssertionError, AttributeError, ValueError, TypeError, KeyError):
        return {"reward": np.asarray(np.nan)}
    finally:
        official.reward_function_version = "v2"


def ours(env: SawyerEnv, params, columns: dict):
    """Returns our observations [STEPS, n_episodes, 39] of the recorded states, starting from our own resets, and the
    rewards and terms [STEPS, n_episodes] of each version of the reward."""
    versions = {"v2": env.reward_v2}
    if type(env).reward_v1 is not SawyerEnv.reward_v1:
        versions["v1"] = env.reward_v1

    def step(state, row):
        physics, action = row
        state = state.replace(time=state.time + 1, physics=physics, task=env.advance_task(state.task, physics.poses))
        obs = env.get_obs(state)
        state = env.remember(state, obs)
        return state, (obs, {version: as_arrays(reward(state, obs, action)) for version, reward in versions.items()})

    def as_arrays(reward_and_terms):
        reward, terms = reward_and_terms
        return {"reward": reward, **{name: jnp.asarray(value, jnp.float32) for name, value in terms.items()}}

    run = jax.jit(lambda start, rows: jax.lax.scan(jax.vmap(step), start, rows)[1], compiler_options=FAST_COMPILATION)
    return jax.device_get(run(params.bank, (columns["physics"], columns["action"])))


def _numbers(info: dict) -> dict[str, np.ndarray]:
    return {name: np.asarray(float(value)) for name, value in info.items()}


def _stack(rows: list) -> dict:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *rows)
