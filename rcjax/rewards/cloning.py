"""Behaviour cloning: the policy learns the expert's actions, and no reward at all.

It takes the place of PPO's update in the iteration, so that cloned policies are evaluated, saved and resumed as others
are. With `--init-from` it finetunes on demonstrations, as the paper does (section 4.5, which does not name its method);
without, it clones from scratch.
"""

import dataclasses
from typing import ClassVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Bool, Float, PRNGKeyArray

from rcjax import ppo
from rcjax.ppo.networks import Params
from rcjax.pytree import PyTree
from rcjax.rewards.config import CloningConfig
from rcjax.rewards.expert_order import ExpertOrder, new_order, next_batch
from rcjax.rewards.source import Metrics, RewardSource, SeenEpisodes
from rcjax.rollout import Episodes
from rcjax.types import Transitions


class Anchor(PyTree):
    """The policy that training began with, and the observations of its own episodes [B O]."""

    policy: Params
    obs: Float[Array, "B O"]
    is_set: Bool[Array, ""]


class CloningState(PyTree):
    """Adam's state, the order of the expert's transitions, and what the policy is kept near to, if it is."""

    opt_state: optax.OptState
    expert: ExpertOrder
    anchor: Anchor | None


@dataclasses.dataclass(frozen=True)
class Cloning(RewardSource):
    """Trains the actor on the expert's transitions [M], which are the demonstration.

    Args:
        config: Hyperparameters.
        policy: Hyperparameters of PPO, for the shapes of the policy's networks.
        obs_size: Numbers of an observation.
        action_size: Numbers of an action.
        round_size: Transitions of an iteration.
        n_expert: The expert's transitions, M.
    """

    replaces_ppo: ClassVar[bool] = True

    config: CloningConfig
    policy: ppo.PPOConfig
    obs_size: int
    action_size: int
    round_size: int
    n_expert: int

    def init_state(self, key: PRNGKeyArray) -> CloningState:
        key_order, key_policy = jax.random.split(key)
        trained = _trained(ppo.init_params(key_policy, self.obs_size, self.action_size, self.policy))
        anchor = None
        if self.config.bc_kl_weight > 0:
            obs = jnp.zeros((self.round_size, self.obs_size))
            anchor = Anchor(policy=trained, obs=obs, is_set=jnp.array(False))
        opt_state = self._optimizer.init(trained)
        return CloningState(opt_state=opt_state, expert=new_order(key_order, self.n_expert), anchor=anchor)

    def reward(
        self, state: CloningState, seen: SeenEpisodes, demonstration: Transitions
    ) -> tuple[CloningState, Float[Array, "T N"]]:
        """Returns zeros: nothing is learned from episodes."""
        del demonstration
        return state, jnp.zeros_like(seen.episodes.true_reward)

    def train_policy(
        self,
        state: CloningState,
        policy: ppo.PPOState,
        episodes: Episodes,
        demonstration: Transitions,
        key: PRNGKeyArray,
    ) -> tuple[CloningState, ppo.PPOState, Metrics]:
        """Takes `bc_updates` gradient steps. The critic and PPO's optimiser stay as they are."""
        anchor = None if state.anchor is None else _set_once(state.anchor, policy.params, episodes)

        def step(carry: tuple[Params, optax.OptState, ExpertOrder], key: PRNGKeyArray):
            trained, opt_state, order = carry
            key_order, key_anchor = jax.random.split(key)
            batch, order = next_batch(key_order, order, demonstration, self.config.bc_batch_size)
            near = None if anchor is None else self._sampled(key_anchor, anchor)
            gradient, metrics = jax.grad(self.loss, has_aux=True)(trained, batch, near)
            change, opt_state = self._optimizer.update(gradient, opt_state)
            return (cast(Params, optax.apply_updates(trained, change)), opt_state, order), metrics

        carry = _trained(policy.params), state.opt_state, state.expert
        keys = jax.random.split(key, self.config.bc_updates)
        (trained, opt_state, order), metrics = jax.lax.scan(step, carry, keys)
        policy = policy.replace(params={**policy.params, **trained})
        state = state.replace(opt_state=opt_state, expert=order, anchor=anchor)
        return state, policy, {name: jnp.mean(values) for name, values in metrics.items()}

    def loss(self, trained: Params, batch: Transitions, near: Anchor | None) -> tuple[Float[Array, ""], Metrics]:
        """Returns -mean log pi(a given s) - w_ent entropy + w_l2 |parameters|^2 / 2 + w_kl KL(anchor, pi), and metrics.

        All but the last term are those of imitation's `BehaviorCloningLossCalculator`.
        """
        mean, log_std = ppo.action_distribution(trained, batch.obs)
        log_prob = jnp.mean(ppo.log_prob(batch.action, mean, log_std))
        entropy, config = ppo.entropy(log_std), self.config
        squares = sum(jnp.sum(x**2) for x in jax.tree.leaves(trained)) / 2
        value = -log_prob - config.bc_ent_weight * entropy + config.bc_l2_weight * squares
        metrics = {"bc_log_prob": log_prob, "bc_entropy": entropy}
        if near is not None:
            metrics["bc_kl"] = _kl_divergence(near.policy, trained, near.obs)
            value = value + config.bc_kl_weight * metrics["bc_kl"]
        return cast(Array, value), {"bc_loss": cast(Array, value), **metrics}

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.config.bc_learning_rate, eps=1e-8)

    def _sampled(self, key: PRNGKeyArray, anchor: Anchor) -> Anchor:
        """Returns the anchor with as many of its observations as a batch has. Consumes `key`."""
        index = jax.random.randint(key, (self.config.bc_batch_size,), 0, anchor.obs.shape[0])
        return anchor.replace(obs=anchor.obs[index])


def _trained(params: Params) -> Params:
    """Returns the parameters that cloning trains: all but the critic's."""
    return {name: params[name] for name in ("actor", "log_std")}


def _set_once(anchor: Anchor, params: Params, episodes: Episodes) -> Anchor:
    """Returns the policy of the first iteration and its observations, in all iterations."""
    obs = episodes.rollout.obs
    first = Anchor(policy=_trained(params), obs=obs.reshape(-1, obs.shape[-1]), is_set=jnp.array(True))
    return jax.tree.map(lambda new, old: jnp.where(anchor.is_set, old, new), first, anchor)


def _kl_divergence(old: Params, new: Params, obs: Float[Array, "B O"]) -> Float[Array, ""]:
    """Returns the mean over observations of KL(old || new) between the two Gaussian policies, in nats."""
    (mean_old, log_old), (mean, log_new) = (ppo.action_distribution(params, obs) for params in (old, new))
    ratio = (jnp.exp(2 * log_old) + (mean_old - mean) ** 2) * jnp.exp(-2 * log_new) / 2
    return jnp.mean(jnp.sum(log_new - log_old + ratio - 0.5, axis=-1))
