"""The networks of GAIL and AIRL: what they compute from transitions, and their rewards.

A discriminator's logit is high for transitions that look like the expert's. With f, g and h small networks, m = 0 at
the last step of an episode and 1 elsewhere, and pi the policy:

====  ==========================================  ================================================
      logit                                       reward
====  ==========================================  ================================================
GAIL  f(s, a)                                     -log(1 - sigmoid(logit))
AIRL  g(s, a) + gamma m h(s') - h(s) - log pi     g(s, a) + gamma m h(s') - h(s)
====  ==========================================  ================================================

Sources: Ho and Ermon 2016 (arXiv:1606.03476), Fu et al. 2018 (arXiv:1710.11248), and for everything that they leave
open `imitation` (arXiv:2211.11972).
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from rcjax.pytree import PyTree
from rcjax.rewards.running_norm import RunningNorm, new_norm, normalize, update_norm
from rcjax.types import Transitions

GAMMA = 0.99  # of AIRL's shaping term: the default of imitation, whatever PPO's discount is
Layers: TypeAlias = list[dict[str, Any]]  # kernel and bias of each


class Discriminator(PyTree):
    """Parameters of the networks: `base` is f or g. `potential` is h, and None in GAIL."""

    base: Layers
    potential: Layers | None


class Norms(PyTree):
    """Statistics of the networks' inputs; None where inputs are not normalised, or without the network."""

    base: RunningNorm | None
    potential: RunningNorm | None


def init_layers(key: PRNGKeyArray, sizes: Sequence[int]) -> Layers:
    """Returns layers of these sizes, from the input's to the output's, initialised like `torch.nn.Linear`.

    Weights and biases are uniform between -1/sqrt(n) and 1/sqrt(n), where n is the size of the layer's input.
    Consumes `key`.
    """

    def layer(key: PRNGKeyArray, n_in: int, n_out: int) -> dict[str, Array]:
        key_kernel, key_bias = jax.random.split(key)
        bound = 1 / math.sqrt(n_in)
        return {
            "kernel": jax.random.uniform(key_kernel, (n_in, n_out), minval=-bound, maxval=bound),
            "bias": jax.random.uniform(key_bias, (n_out,), minval=-bound, maxval=bound),
        }

    keys = jax.random.split(key, len(sizes) - 1)
    return [layer(*args) for args in zip(keys, sizes[:-1], sizes[1:], strict=True)]


def init_discriminator(
    key: PRNGKeyArray, obs_size: int, action_size: int, base_arch: Sequence[int], potential_arch: Sequence[int] | None
) -> Discriminator:
    """Returns new networks with these hidden layers; without `potential_arch` they have no potential.

    Consumes `key`.
    """
    key_base, key_potential = jax.random.split(key)
    potential = None if potential_arch is None else init_layers(key_potential, (obs_size, *potential_arch, 1))
    return Discriminator(base=init_layers(key_base, (obs_size + action_size, *base_arch, 1)), potential=potential)


def init_norms(obs_size: int, action_size: int, shaped: bool) -> Norms:
    """Returns the statistics of no samples."""
    return Norms(base=new_norm(obs_size + action_size), potential=new_norm(obs_size) if shaped else None)


def no_norms() -> Norms:
    """Returns norms that leave inputs unchanged."""
    return Norms(base=None, potential=None)


def evaluate(networks: Discriminator, norms: Norms, batch: Transitions) -> Float[Array, "*B"]:
    """Returns f(s, a), or with a potential the shaped g(s, a) + gamma m h(s') - h(s)."""
    base = _apply(networks.base, norms.base, _base_input(batch))
    if networks.potential is None:
        return base
    after = (1 - batch.done) * _apply(networks.potential, norms.potential, batch.next_obs)
    return base + GAMMA * after - _apply(networks.potential, norms.potential, batch.obs)


def evaluate_in_training(networks: Discriminator, norms: Norms, batch: Transitions) -> tuple[Float[Array, " B"], Norms]:
    """Returns what `evaluate` does and the next statistics, which each input has joined before it is normalised.

    The potential's statistics take in the next observations first. They are then normalised by these statistics, while
    the observations are normalised by statistics that have taken in both.
    """
    base_input = _base_input(batch)
    base_norm = _joined(norms.base, base_input)
    base = _apply(networks.base, base_norm, base_input)
    if networks.potential is None:
        return base, Norms(base=base_norm, potential=None)
    after_norm = _joined(norms.potential, batch.next_obs)
    after = (1 - batch.done) * _apply(networks.potential, after_norm, batch.next_obs)
    before_norm = _joined(after_norm, batch.obs)
    before = _apply(networks.potential, before_norm, batch.obs)
    return base + GAMMA * after - before, Norms(base=base_norm, potential=before_norm)


def gail_reward(logit: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """Returns -log(1 - sigmoid(logit)), which is always positive."""
    return jax.nn.softplus(logit)


def classification_loss(logit: Float[Array, " B"], is_expert: Float[Array, " B"]) -> Float[Array, ""]:
    """Returns the mean binary cross-entropy of the logits, where `is_expert` is 1 for the expert's transitions."""
    return jnp.mean(jax.nn.softplus(logit) - is_expert * logit)


def _base_input(batch: Transitions) -> Float[Array, "*B _"]:
    return jnp.concatenate([batch.obs, batch.action], axis=-1)


def _joined(norm: RunningNorm | None, x: Float[Array, "B O"]) -> RunningNorm | None:
    return None if norm is None else jax.lax.stop_gradient(update_norm(norm, x))


def _apply(layers: Layers, norm: RunningNorm | None, x: Float[Array, "*B O"]) -> Float[Array, "*B"]:
    x = x if norm is None else normalize(norm, x)
    for i, layer in enumerate(layers):
        x = jnp.matmul(x, layer["kernel"], precision=jax.lax.Precision.HIGHEST) + layer["bias"]
        x = x if i == len(layers) - 1 else jax.nn.relu(x)
    return x[..., 0]
