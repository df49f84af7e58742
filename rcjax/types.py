"""The arrays that pass between the stages of the loop, and the names of their axes.

Annotations in all modules use these axes:

====  =======================================================
S     seeds
N     environments, each with one episode per iteration
T     control steps of an episode
F     kept frames of an episode
H, W  pixels
G     geoms whose poses are kept
O, A  sizes of observations and actions
D     size of embeddings (512)
====  =======================================================

Rollouts are time-major, ``T N``. Video is ``N F H W 3`` in uint8 RGB.
"""

from typing import Any, TypeAlias

from jax import Array
from jaxtyping import Bool, Float

from rcjax.pytree import PyTree


class GeomPoses(PyTree):
    """World poses of geoms: positions in metres, and matrices that rotate from geom to world coordinates."""

    pos: Float[Array, "*batch G 3"]
    mat: Float[Array, "*batch G 3 3"]


class Rollout(PyTree):
    """One episode of each environment, from the view of the policy.

    `action` is as the policy sampled it; environments clip it. `final_value` is the critic's value of the state after
    the last step, from which returns are bootstrapped at the time limit.
    """

    obs: Float[Array, "T N O"]
    action: Float[Array, "T N A"]
    log_prob: Float[Array, "T N"]
    value: Float[Array, "T N"]
    terminated: Bool[Array, "T N"]
    final_value: Float[Array, " N"]


class Transitions(PyTree):
    """Steps of episodes: what the policy observed, its action as the environment received it, and what came next.

    `done` is 1 at the last step of an episode, whether it terminated or reached the time limit.
    """

    obs: Float[Array, "*B O"]
    action: Float[Array, "*B A"]  # clipped to [-1, 1]
    next_obs: Float[Array, "*B O"]
    done: Float[Array, "*B"]


Demonstration: TypeAlias = Any
"""What a reward compares episodes with, or learns from: the targets' embeddings [K D], `Transitions` [M], or None"""
