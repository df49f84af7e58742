"""A point mass that must reach a goal on a plane: small enough to learn in seconds, by JAX and by other libraries."""

import jax
import jax.numpy as jnp
from jax import Array

from rcjax.ppo import log_prob, policy_value, sample_action
from rcjax.ppo.networks import Params
from rcjax.types import Rollout

T = 8  # steps of an episode
STRIDE = 0.25  # metres per step and unit of action; every goal can be reached in T steps
OBS_SIZE, ACTION_SIZE = 5, 2


def draw_goals(key: Array, n: int) -> Array:
    return jax.random.uniform(key, (n, 2), minval=-1.0)


def observe(position: Array, goal: Array, t: Array | int) -> Array:
    return jnp.concatenate([position, goal, jnp.full((len(goal), 1), t / T)], axis=-1)


def expert_action(position, goal):
    """The largest step towards the goal."""
    return ((goal - position) / STRIDE).clip(-1, 1)


def run_episodes(params: Params, key: Array, n: int) -> tuple[Rollout, Array, Array, Array]:
    """Returns the rollout of n episodes, the observations after the last steps, the goals, and the final distances."""
    key_goal, key_action = jax.random.split(key)
    goal = draw_goals(key_goal, n)

    def step(position, inputs):
        t, key_step = inputs
        obs = observe(position, goal, t)
        mean, log_std, value = policy_value(params, obs)
        action = sample_action(key_step, mean, log_std)
        position = position + STRIDE * jnp.clip(action, -1, 1)
        return position, (obs, action, log_prob(action, mean, log_std), value)

    steps = (jnp.arange(T), jax.random.split(key_action, T))
    position, (obs, action, old_log_prob, value) = jax.lax.scan(step, jnp.zeros((n, 2)), steps)
    final_obs = observe(position, goal, T)
    rollout = Rollout(
        obs=obs,
        action=action,
        log_prob=old_log_prob,
        value=value,
        terminated=jnp.zeros((T, n), bool).at[-1].set(True),
        final_value=policy_value(params, final_obs)[2],
    )
    return rollout, final_obs, goal, jnp.linalg.norm(position - goal, axis=-1)
