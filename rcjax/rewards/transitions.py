"""Episodes as transitions, which discriminators compare with an expert's."""

import jax
import jax.numpy as jnp

from rcjax.rollout import Episodes
from rcjax.types import Transitions


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
