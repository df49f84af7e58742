"""Generalised advantage estimation over one episode of each environment."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float


def gae(
    reward: Float[Array, "T N"],
    value: Float[Array, "T N"],
    terminated: Bool[Array, "T N"],
    final_value: Float[Array, " N"],
    gamma: float,
    gae_lambda: float,
) -> tuple[Float[Array, "T N"], Float[Array, "T N"]]:
    """Returns advantages, and returns = advantages + values (the critic's targets), both [T N].

    With m_t = 0 where step t terminated and 1 elsewhere, and V_T = `final_value`::

        delta_t = r_t + gamma m_t V_{t+1} - V_t
        A_t     = delta_t + gamma lambda m_t A_{t+1},      A_T = 0

    The time limit ends the episode at T, so the last step still counts gamma V_T unless it terminated. This gives
    the same numbers as Stable-Baselines3, which adds gamma V_T to the last reward and marks the step as done. If a
    step before the last one terminated, the next step is treated as the first of another episode.

    Source: Schulman et al. 2016 (arXiv:1506.02438), equations 11, 12 and 16.
    """
    next_value = jnp.concatenate([value[1:], final_value[None]])
    discount = gamma * (1.0 - terminated)
    delta = reward + discount * next_value - value

    def backward(next_advantage, step):
        delta_t, discount_t = step
        advantage_t = delta_t + gae_lambda * discount_t * next_advantage
        return advantage_t, advantage_t

    _, advantage = jax.lax.scan(backward, jnp.zeros_like(final_value), (delta, discount), reverse=True)
    return advantage, advantage + value
