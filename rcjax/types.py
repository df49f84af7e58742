"""Axis names and the arrays that pass between the stages of the loop.

Axes, used in every annotation of the package:

====  =======================================================
S     seeds
N     environments, one episode each per iteration
T     control steps of an episode
F     frames kept of an episode
H, W  pixels
G     geoms whose pose is kept
O, A  observation and action numbers
D     embedding numbers (512)
====  =======================================================

Rollouts are time-major ``T N``; video is ``N F H W 3``, uint8 RGB.
"""

from jax import Array
from jaxtyping import Bool, Float

from rcjax.pytree import PyTree


class GeomPoses(PyTree):
    """World poses of geoms, in metres; `mat` rotates geom coordinates into the world's."""

    pos: Float[Array, "*batch G 3"]
    mat: Float[Array, "*batch G 3 3"]


class Rollout(PyTree):
    """One episode of each environment, as the policy saw it.

    `action` is what the policy drew; environments clip it. `final_value` is the critic's value of the state
    after the last step, for the bootstrap at the time limit.
    """

    obs: Float[Array, "T N O"]
    action: Float[Array, "T N A"]
    log_prob: Float[Array, "T N"]
    value: Float[Array, "T N"]
    terminated: Bool[Array, "T N"]
    final_value: Float[Array, " N"]
