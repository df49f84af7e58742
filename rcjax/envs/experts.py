"""Metaworld's own expert policies in our environments: demonstrations, and a test that physics will do."""

import warnings
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from rcjax.envs.mjx_env import EnvParams
from rcjax.envs.sawyer import SawyerEnv
from rcjax.types import GeomPoses


@chex.dataclass(frozen=True)
class ExpertRun:
    """Host arrays of one episode per environment, time-major.

    Row t of `obs` and `poses` is what the action of row t was chosen on: row 0 is the reset.
    """

    obs: Float[np.ndarray, "T N O"]
    action: Float[np.ndarray, "T N A"]
    reward: Float[np.ndarray, "T N"]
    success: Bool[np.ndarray, "T N"]
    poses: GeomPoses


def expert_policy(task: str):
    """Metaworld's scripted policy for `task`: one NumPy observation with the goal shown to one action."""
    from metaworld.policies import ENV_POLICY_MAP

    return ENV_POLICY_MAP[f"{task}-v3"]()


def compile_batch(env: SawyerEnv):
    """Jitted batch functions (reset_at, step, obs_with_goal); the step compiles once per batch size."""
    return (
        jax.jit(jax.vmap(env.reset_env_at, in_axes=(0, None))),
        jax.jit(jax.vmap(env.step_env, in_axes=(None, 0, 0, None))),
        jax.jit(jax.vmap(env.obs_with_goal)),
    )


def run_expert(
    env: SawyerEnv, params: EnvParams, indices: Sequence[int], steps: int = 128, *, functions=None
) -> ExpertRun:
    """One expert episode from each bank index, all stepped as one batch.

    Actions are clipped to [-1, 1], as the environment would do with them. `functions` reuses what
    `compile_batch` returned.

    Raises ValueError for an index outside the bank.
    """
    indices = np.asarray(indices, np.int32)
    if indices.size == 0 or indices.min() < 0 or indices.max() >= params.bank_size:
        raise ValueError(
            f"indices={indices.tolist()} must be non-empty and lie in [0, {params.bank_size}), the bank; "
            "make the environment with more seeds to have more."
        )
    reset_at, step, obs_with_goal = functions or compile_batch(env)
    policy, key = expert_policy(env.name), jax.random.key(0)
    obs, state = reset_at(jnp.asarray(indices), params)
    rows = []
    for _ in range(steps):
        action = _act(policy, np.asarray(obs_with_goal(state), np.float64))
        next_obs, next_state, reward, _, info = step(key, state, jnp.asarray(action), params)
        poses = env.geom_poses(state)
        rows.append(jax.device_get((obs, action, reward, info["success"] > 0, poses.pos, poses.mat)))
        obs, state = next_obs, next_state
    obs, action, reward, success, pos, mat = (np.stack(column) for column in zip(*rows, strict=True))
    return ExpertRun(
        obs=obs, action=action, reward=reward, success=success, poses=GeomPoses(pos=pos, mat=mat)
    )


def _act(policy, obs: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the policies warn that they ask for more than 1
        actions = np.stack([policy.get_action(row) for row in obs])
    return np.clip(actions, -1.0, 1.0).astype(np.float32)
