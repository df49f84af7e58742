"""Transitions, of a policy or of an expert, as discriminators and behaviour cloning see them."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.pytree import PyTree
from rcjax.rollout import Episodes


class Transitions(PyTree):
    """Steps of episodes: what the policy observed, its action as the environment received it, and what came next.

    `done` is 1 at the last step of an episode, whether it terminated or reached the time limit.
    """

    obs: Float[Array, "*B O"]
    action: Float[Array, "*B A"]  # clipped to [-1, 1]
    next_obs: Float[Array, "*B O"]
    done: Float[Array, "*B"]


def episode_transitions(episodes: Episodes) -> Transitions:
    """Returns the transitions [T N] of whole episodes."""
    rollout = episodes.rollout
    return Transitions(
        obs=rollout.obs,
        action=jnp.clip(rollout.action, -1.0, 1.0),
        next_obs=jnp.concatenate([rollout.obs[1:], episodes.final_obs[None]]),
        done=rollout.terminated.astype(jnp.float32).at[-1].set(1.0),
    )


def flatten(transitions: Transitions) -> Transitions:
    """Returns transitions [T N] as [N * T], episode by episode."""
    return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), transitions)
