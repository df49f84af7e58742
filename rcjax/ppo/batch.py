"""What one PPO update learns from: the rollout with its advantages, as flat samples."""

import jax
from jax import Array
from jaxtyping import Float

from rcjax.ppo.advantages import gae
from rcjax.ppo.config import PPOConfig
from rcjax.pytree import PyTree
from rcjax.types import Rollout


class Batch(PyTree):
    """Samples `B` = `N * T` of an update; `log_prob` and `value` are those of the policy that acted."""

    obs: Float[Array, "B O"]
    action: Float[Array, "B A"]
    log_prob: Float[Array, " B"]
    value: Float[Array, " B"]
    advantage: Float[Array, " B"]
    returns: Float[Array, " B"]


def make_batch(rollout: Rollout, reward: Float[Array, "T N"], config: PPOConfig) -> Batch:
    """Samples of a rollout, ordered by environment and then by step.

    That is Stable-Baselines3's order, and leaves what is sharded over environments where it is.
    """
    advantage, returns = gae(
        reward, rollout.value, rollout.terminated, rollout.final_value, config.gamma, config.gae_lambda
    )
    fields = {
        "obs": rollout.obs,
        "action": rollout.action,
        "log_prob": rollout.log_prob,
        "value": rollout.value,
        "advantage": advantage,
        "returns": returns,
    }
    return Batch(**jax.tree.map(_flatten, fields))


def _flatten(x: Float[Array, "T N ..."]) -> Float[Array, "B ..."]:
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])
