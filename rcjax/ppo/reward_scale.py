"""Rewards divided by the running deviation of discounted returns, as Stable-Baselines3's `VecNormalize` does."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from rcjax.moments import merge_batch
from rcjax.pytree import PyTree

MAX_REWARD = 10.0  # of scaled rewards, which are clipped to plus or minus this
EPSILON = 1e-8  # added to the variance


class ReturnStatistics(PyTree):
    """The mean and population variance of discounted returns so far, and their number."""

    mean: Float[Array, ""]
    var: Float[Array, ""]
    count: Float[Array, ""]


def no_statistics() -> ReturnStatistics:
    """Returns the statistics before the first reward, which count as a ten-thousandth of a return."""
    return ReturnStatistics(mean=jnp.zeros(()), var=jnp.ones(()), count=jnp.array(1e-4))


def scale_rewards(
    statistics: ReturnStatistics, reward: Float[Array, "T N"], terminated: Bool[Array, "T N"], gamma: float
) -> tuple[ReturnStatistics, Float[Array, "T N"]]:
    """Returns the statistics after whole episodes, and their rewards divided by the standard deviation.

    In each environment the return R_t = gamma R_{t-1} + r_t runs from the beginning of the episode. The statistics take
    in the returns of all environments at a step before they scale the step's rewards. No mean is subtracted.
    """

    def step(carry: tuple[ReturnStatistics, Float[Array, " N"]], transition: tuple[Array, Array]):
        statistics, running = carry
        reward_t, terminated_t = transition
        running = gamma * running + reward_t
        statistics = _joined(statistics, running)
        scaled = reward_t / jnp.sqrt(statistics.var + EPSILON)
        running = jnp.where(terminated_t, 0.0, running)
        return (statistics, running), jnp.clip(scaled, -MAX_REWARD, MAX_REWARD)

    start = statistics, jnp.zeros(reward.shape[1], reward.dtype)
    (statistics, _), scaled = jax.lax.scan(step, start, (reward, terminated))
    return statistics, scaled


def _joined(old: ReturnStatistics, returns: Float[Array, " N"]) -> ReturnStatistics:
    mean, var, count = merge_batch((old.mean, old.var, old.count), returns)
    return ReturnStatistics(mean=mean, var=var, count=count)
