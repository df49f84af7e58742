"""The batch of one PPO update: a rollout and its advantages, flattened into samples."""

import jax
from jax import Array
from jaxtyping import Float

from rcjax.ppo.advantages import gae
from rcjax.ppo.config import PPOConfig
from rcjax.pytree import PyTree
from rcjax.types import Rollout


class Batch(PyTree):
    """The `B` = `N * T` samples of an update; `log_prob` and `value` come from the policy that acted."""

    obs: Float[Array, "B O"]
    action: Float[Array, "B A"]
    log_prob: Float[Array, " B"]
    value: Float[Array, " B"]
    advantage: Float[Array, " B"]
    returns: Float[Array, " B"]


def make_batch(rollout: Rollout, reward: Float[Array, "T N"], config: PPOConfig) -> Batch:
    """Returns the samples of a rollout with their advantages, ordered by environment and then by step.

    Stable-Baselines3 uses the same order. Arrays that are sharded over environments stay on their devices.
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
