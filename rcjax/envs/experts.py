"""Runs the tasks' expert policies in our environments, for demonstrations and to test the physics."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from rcjax.envs.metaworld.policies import expert_policy
from rcjax.envs.mjx_env import EnvParams, MjxEnv, Policy
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses

__all__ = ["Policy", "PolicyRun", "expert_policy", "run_expert", "run_policy"]


class PolicyRun(PyTree):
    """One episode per environment as NumPy arrays, time-major.

    Row t has the observation from which action t was chosen, and the reward, success and poses after that action.
    """

    obs: Float[np.ndarray, "T N O"]
    action: Float[np.ndarray, "T N A"]
    reward: Float[np.ndarray, "T N"]
    success: Bool[np.ndarray, "T N"]
    poses: GeomPoses  # of all geoms: T N G


def run_expert(env: MjxEnv, params: EnvParams, indices: Sequence[int], steps: int = 128) -> PolicyRun:
    """Runs one episode of the task's expert from each of these entries of the bank. See `run_policy` and `expert`."""
    return run_policy(env, params, env.expert(), indices, steps)


def run_policy(env: MjxEnv, params: EnvParams, policy: Policy, indices: Sequence[int], steps: int = 128) -> PolicyRun:
    """Runs one episode from each of these entries of the bank, as one batch with the policy on the host.

    `indices` are entries of the bank of `params`, `steps` the control steps of each episode. Actions are clipped to
    [-1, 1]. The step compiles once per environment and batch size.

    Raises ValueError for an index outside the bank.
    """
    rows = _check_indices(indices, params)
    reset_at, step, obs_with_goal = _compiled(env)
    key = jax.random.key(0)  # steps take a key but do not use it
    obs, state = reset_at(jnp.asarray(rows), params)
    history = []
    for _ in range(steps):
        unclipped = policy(np.asarray(obs_with_goal(state), np.float64))
        action = np.clip(unclipped, -1.0, 1.0).astype(np.float32)
        next_obs, state, reward, _, info = step(key, state, action, params)
        poses = env.geom_poses(state)
        history.append(jax.device_get((obs, action, reward, info["success"] > 0, poses.pos, poses.mat)))
        obs = next_obs
    obs, action, reward, success, pos, mat = (np.stack(column) for column in zip(*history, strict=True))
    poses = GeomPoses.of_leaves(pos=pos, mat=mat)
    return PolicyRun(obs=obs, action=action, reward=reward, success=success, poses=poses)


def _check_indices(indices: Sequence[int], params: EnvParams) -> np.ndarray:
    """Returns `indices` as an array. Raises ValueError for an index outside the bank."""
    rows = np.asarray(indices, np.int32)
    if rows.size == 0 or rows.min() < 0 or rows.max() >= params.bank_size:
        raise ValueError(
            f"indices={rows.tolist()} must be one or more of 0 ... {params.bank_size - 1}, the entries of the bank; "
            "for a larger bank, make the environment with more seeds."
        )
    return rows


@functools.lru_cache(maxsize=16)
def _compiled(env: MjxEnv):
    """Returns the batched reset, step and observation. On CPU, the step is compiled without XLA's slow optimizations.

    A few hundred steps from the host take seconds either way, and compiling took half as long without them.
    """
    compiler_options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return (
        jax.jit(jax.vmap(env.reset_env_at, in_axes=(0, None))),
        jax.jit(jax.vmap(env.step_env, in_axes=(None, 0, 0, None)), compiler_options=compiler_options),
        jax.jit(jax.vmap(env.obs_with_goal)),
    )
