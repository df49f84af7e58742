"""Metaworld's own expert policies in our environments: demonstrations, and a test that physics will do."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams, EnvState
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses

Policy = Callable[[np.ndarray], np.ndarray]
"""obs [N 39] with the goal shown -> action [N 4]; NumPy, on the host"""


class PolicyRun(PyTree):
    """Host arrays of one episode per environment, time-major.

    Row t has the observation that action t was chosen on, and the reward, success and poses that it led to.
    """

    obs: Float[np.ndarray, "T N O"]
    action: Float[np.ndarray, "T N A"]
    reward: Float[np.ndarray, "T N"]
    success: Bool[np.ndarray, "T N"]
    poses: GeomPoses  # T N G


Step = Callable[[EnvState, np.ndarray], tuple[Any, EnvState, Any, dict[str, Any]]]
"""A batch's state and actions -> what they lead to: observations, states, rewards, infos"""


def mjx_step(env: SawyerEnv, params: EnvParams, start: EnvState) -> Step:
    """The environment's own step, for episodes from `start`."""
    del start
    step, key = _compiled(env)[1], jax.random.key(0)  # steps need a key and use none

    def advance(state: EnvState, action: np.ndarray):
        obs, state, reward, _, info = step(key, state, action, params)
        return obs, state, reward, info

    return advance


MakeStep = Callable[[SawyerEnv, EnvParams, EnvState], Step]
"""What steps the episodes that begin with these states: `mjx_step`, or `native.c_step`"""


def run_expert(
    env: SawyerEnv, params: EnvParams, indices: Sequence[int], steps: int = 128, make_step: MakeStep = mjx_step
) -> PolicyRun:
    """One episode of Metaworld's scripted policy from each of these entries of the bank. See `run_policy`."""
    return run_policy(env, params, expert_policy(env.name), indices, steps, make_step)


def expert_policy(task: str) -> Policy:
    """Metaworld's scripted policy for `task`, over a batch."""
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[f"{task}-v3"]()

    def act(obs: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the policies warn that they ask for more than 1
            return np.stack([policy.get_action(row.copy()) for row in obs])  # some write into what they are given

    return act


def run_policy(
    env: SawyerEnv,
    params: EnvParams,
    policy: Policy,
    indices: Sequence[int],
    steps: int = 128,
    make_step: MakeStep = mjx_step,
) -> PolicyRun:
    """One episode from each of these entries of the bank, stepped as one batch with the policy on the host.

    Actions are clipped to [-1, 1]. The step compiles once per environment and batch size.

    Raises ValueError for an index outside the bank.
    """
    rows = _check_indices(indices, params)
    reset_at, _, obs_with_goal = _compiled(env)
    obs, state = reset_at(jnp.asarray(rows), params)
    step = make_step(env, params, state)
    history = []
    for _ in range(steps):
        wanted = policy(np.asarray(obs_with_goal(state), np.float64))
        action = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        next_obs, state, reward, info = step(state, action)
        poses = env.geom_poses(state)
        history.append(jax.device_get((obs, action, reward, info["success"] > 0, poses.pos, poses.mat)))
        obs = next_obs
    obs, action, reward, success, pos, mat = (np.stack(column) for column in zip(*history, strict=True))
    return PolicyRun(obs=obs, action=action, reward=reward, success=success, poses=GeomPoses(pos=pos, mat=mat))


def _check_indices(indices: Sequence[int], params: EnvParams) -> np.ndarray:
    """Raises ValueError for an index outside the bank."""
    rows = np.asarray(indices, np.int32)
    if rows.size == 0 or rows.min() < 0 or rows.max() >= params.bank_size:
        raise ValueError(
            f"indices={rows.tolist()} must be some of 0 ... {params.bank_size - 1}, the entries of the bank; "
            "make the environment with more seeds to have more."
        )
    return rows


@functools.lru_cache(maxsize=16)
def _compiled(env: SawyerEnv):
    """Batched reset, step and observation. On CPU the step is compiled without XLA's slow optimizations.

    Stepping a few hundred times from the host takes seconds either way; compiling took half as long.
    """
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return (
        jax.jit(jax.vmap(env.reset_env_at, in_axes=(0, None))),
        jax.jit(jax.vmap(env.step_env, in_axes=(None, 0, 0, None)), compiler_options=quick),
        jax.jit(jax.vmap(env.obs_with_goal)),
    )
