"""PPO's clipped surrogate, value loss and entropy bonus."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.ppo.batch import Batch
from rcjax.ppo.config import PPOConfig
from rcjax.ppo.networks import Params, entropy, log_prob, policy_value


def ppo_loss(params: Params, batch: Batch, config: PPOConfig) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Returns the loss of one minibatch, to be minimised, and metrics under Stable-Baselines3's names.

    The loss is `policy_gradient_loss + ent_coef * entropy_loss + vf_coef * value_loss`, where `entropy_loss` is the
    negative entropy and `value_loss` is the mean squared error without a factor of one half. `approx_kl` is the mean
    of `ratio - 1 - log(ratio)`.

    Source: Schulman et al. 2017 (arXiv:1707.06347), equations 7 and 9; http://joschu.net/blog/kl-approx.html.
    """
    mean, log_std, value = policy_value(params, batch.obs)
    log_ratio = log_prob(batch.action, mean, log_std) - batch.log_prob
    ratio = jnp.exp(log_ratio)
    advantage = normalize(batch.advantage) if config.normalize_advantage else batch.advantage

    policy_loss = clipped_surrogate_loss(ratio, advantage, config.clip_range)
    critic_loss = value_loss(value, batch.value, batch.returns, config.clip_range_vf)
    entropy_loss = -entropy(log_std)
    loss = policy_loss + config.ent_coef * entropy_loss + config.vf_coef * critic_loss
    metrics = {
        "loss": loss,
        "policy_gradient_loss": policy_loss,
        "value_loss": critic_loss,
        "entropy_loss": entropy_loss,
        "approx_kl": jnp.mean(ratio - 1 - log_ratio),
        "clip_fraction": jnp.mean(jnp.abs(ratio - 1) > config.clip_range),
    }
    return loss, metrics


def clipped_surrogate_loss(
    ratio: Float[Array, " B"], advantage: Float[Array, " B"], clip_range: float
) -> Float[Array, ""]:
    """Returns the negative mean of `min(ratio * advantage, clipped_ratio * advantage)`, clipped by `clip_range`."""
    clipped = jnp.clip(ratio, 1 - clip_range, 1 + clip_range)
    return -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))


def value_loss(
    value: Float[Array, " B"],
    old_value: Float[Array, " B"],
    returns: Float[Array, " B"],
    clip_range_vf: float | None,
) -> Float[Array, ""]:
    """Returns the mean squared error.

    With `clip_range_vf`, `value` is first clipped to that range around `old_value`.
    """
    if clip_range_vf is not None:
        value = old_value + jnp.clip(value - old_value, -clip_range_vf, clip_range_vf)
    return jnp.mean((returns - value) ** 2)


def normalize(advantage: Float[Array, " B"]) -> Float[Array, " B"]:
    """Scales advantages to mean 0 and (unbiased) standard deviation 1; a single sample is returned unchanged."""
    if advantage.shape[0] == 1:
        return advantage
    return (advantage - jnp.mean(advantage)) / (jnp.std(advantage, ddof=1) + 1e-8)


def explained_variance(value: Float[Array, " B"], returns: Float[Array, " B"]) -> Float[Array, ""]:
    """Returns the share of the returns' variance that the values explain.

    1 is perfect, a constant gives 0, and negative numbers are worse than a constant. The result is NaN if the returns
    do not vary, as in Stable-Baselines3.
    """
    variance = jnp.var(returns)
    return jnp.where(variance == 0, jnp.nan, 1 - jnp.var(returns - value) / variance)
