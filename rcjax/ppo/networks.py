"""Actor and critic: separate tanh networks, and a Gaussian policy whose width does not depend on the state."""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_batching import sequential_vmap
from jax.typing import DTypeLike
from jaxtyping import Float, PRNGKeyArray

from rcjax.ppo.config import PPOConfig

Params: TypeAlias = dict[str, Any]  # nested: `actor`, `critic` (layers of kernel and bias) and `log_std`

_LOG_2PI = math.log(2 * math.pi)


class MLP(nn.Module):
    """Tanh layers and a linear last layer, with orthogonal weights and zero biases.

    Matrix products are float32 on every backend: the layers are small, and the TPU's default would round their inputs
    to bfloat16.
    """

    hidden: tuple[int, ...]
    out_size: int
    out_gain: float

    @nn.compact
    def __call__(self, x: Float[Array, "*batch O"]) -> Float[Array, "*batch out"]:
        for i, width in enumerate(self.hidden):
            x = nn.tanh(_dense(width, math.sqrt(2), f"hidden_{i}")(x))
        return _dense(self.out_size, self.out_gain, "out")(x)


class ActorCritic(nn.Module):
    """Computes the mean and log standard deviation of the action, and the value of the state.

    It is initialised like `ActorCriticPolicy` of Stable-Baselines3: weights are orthogonal, with gain sqrt(2) in hidden
    layers, 0.01 for the mean and 1 for the value.
    """

    action_size: int
    net_arch: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0

    @nn.compact
    def __call__(
        self, obs: Float[Array, "*batch O"]
    ) -> tuple[Float[Array, "*batch A"], Float[Array, " A"], Float[Array, "*batch"]]:
        mean = MLP(self.net_arch, self.action_size, 0.01, name="actor")(obs)
        value = MLP(self.net_arch, 1, 1.0, name="critic")(obs)
        log_std = self.param("log_std", nn.initializers.constant(self.log_std_init, jnp.float32), (self.action_size,))
        return mean, log_std, value[..., 0]


def init_params(key: PRNGKeyArray, obs_size: int, action_size: int, config: PPOConfig) -> Params:
    """Returns new parameters: a tree of `actor`, `critic` and `log_std`. Consumes `key`."""
    network = ActorCritic(action_size, tuple(config.net_arch), config.log_std_init)
    return dict(network.init(key, jnp.zeros((1, obs_size)))["params"])


def policy_value(
    params: Params, obs: Float[Array, "*batch O"]
) -> tuple[Float[Array, "*batch A"], Float[Array, " A"], Float[Array, "*batch"]]:
    """Returns the mean and log standard deviation of the action, and the value of the state.

    The sizes of the layers are read from the parameters.
    """
    n_hidden = len(params["actor"]) - 1
    net_arch = tuple(params["actor"][f"hidden_{i}"]["kernel"].shape[-1] for i in range(n_hidden))
    network = ActorCritic(params["log_std"].shape[-1], net_arch)
    return cast(tuple[Array, Array, Array], network.apply({"params": params}, obs))


def action_distribution(
    params: Params, obs: Float[Array, "*batch O"]
) -> tuple[Float[Array, "*batch A"], Float[Array, " A"]]:
    """Returns the mean and log standard deviation of the action, for which only the actor's parameters are needed."""
    n_hidden = len(params["actor"]) - 1
    net_arch = tuple(params["actor"][f"hidden_{i}"]["kernel"].shape[-1] for i in range(n_hidden))
    actor = MLP(net_arch, params["log_std"].shape[-1], 0.01)
    return cast(Array, actor.apply({"params": params["actor"]}, obs)), params["log_std"]


def sample_action(
    key: PRNGKeyArray, mean: Float[Array, "*batch A"], log_std: Float[Array, " A"]
) -> Float[Array, "*batch A"]:
    """Draws an action from the Gaussian policy, without clipping. Consumes `key`.

    Clip the action that the environment receives, and train on the unclipped one.
    """
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def log_prob(
    action: Float[Array, "*batch A"], mean: Float[Array, "*batch A"], log_std: Float[Array, " A"]
) -> Float[Array, "*batch"]:
    """Returns the log density of the unclipped action, summed over its components, in nats."""
    z = (action - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * z**2 + log_std + 0.5 * _LOG_2PI, axis=-1)


def entropy(log_std: Float[Array, " A"]) -> Float[Array, ""]:
    """Returns the differential entropy of the Gaussian in nats, which is the same in every state."""
    return jnp.sum(0.5 + 0.5 * _LOG_2PI + log_std)


def _dense(width: int, gain: float, name: str) -> nn.Dense:
    return nn.Dense(
        width,
        kernel_init=_orthogonal(gain),
        precision=jax.lax.Precision.HIGHEST,
        name=name,
    )


def _orthogonal(gain: float) -> nn.initializers.Initializer:
    """Returns Flax's orthogonal initializer, which under `vmap` draws one matrix after another.

    In jaxlib 0.10, a batched QR decomposition on a CPU blocks a thread of a pool while parts of the batch wait for
    another thread of it, so that actor's and critic's together wait forever where there are two cores.
    """
    draw = nn.initializers.orthogonal(gain)

    def init(key: PRNGKeyArray, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
        return sequential_vmap(lambda key: draw(key, shape, dtype))(key)

    return init
