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
