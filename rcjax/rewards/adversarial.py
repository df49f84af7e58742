"""GAIL and AIRL: the reward is what a discriminator says, which learns to tell the policy from the expert.

They follow `imitation` 1.0.1 (arXiv:2211.11972), whose round is an iteration here: rewards by the current
discriminator, PPO's update, then the discriminator's steps on the policy's transitions and the expert's.
"""

import dataclasses
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Int, PRNGKeyArray

from rcjax import ppo
from rcjax.ppo.networks import Params
from rcjax.pytree import PyTree
from rcjax.rewards import discriminator
from rcjax.rewards.config import DOCUMENTED_BATCH, DiscriminatorConfig
from rcjax.rewards.discriminator import Discriminator, Norms
from rcjax.rewards.expert_order import ExpertOrder, new_order, next_batch
from rcjax.rewards.running_norm import RunningNorm, new_norm, normalize, update_norm
from rcjax.rewards.source import Metrics, RewardSource, SeenEpisodes
from rcjax.rewards.transitions import episode_transitions, flatten
from rcjax.rollout import Episodes
from rcjax.types import Transitions

GAIL_NET_ARCH, AIRL_NET_ARCH = (32, 32), (32,)  # imitation's


class Learner(PyTree):
    """What a gradient step of the discriminator changes."""

    networks: Discriminator
    norms: Norms
    opt_state: optax.OptState


class Buffer(PyTree):
    """The policy's newest transitions, the oldest first. Only the last `count` have been filled."""

    transitions: Transitions  # [C]
    count: Int[Array, ""]


class AdversarialState(PyTree):
    """Everything that GAIL and AIRL learn."""

    learner: Learner
    reward_norm: RunningNorm | None  # of AIRL's rewards, if they are normalised
    buffer: Buffer
    expert: ExpertOrder


@dataclasses.dataclass(frozen=True)
class AdversarialReward(RewardSource):
    """Pays each step by a discriminator.

    The demonstration is the expert's transitions [M].

    Args:
        kind: Which of the two.
        config: Hyperparameters.
        obs_size: Numbers of an observation, the time included if the policy observes it.
        action_size: Numbers of an action.
        round_size: Transitions of an iteration.
        n_expert: The expert's transitions, M.
        drop_time: Whether the discriminator does not see an observation's last number, the time.
    """

    kind: Literal["gail", "airl"]
    config: DiscriminatorConfig
    obs_size: int
    action_size: int
    round_size: int
    n_expert: int
    drop_time: bool

    @property
    def batch_size(self) -> int:
        return self.config.demo_batch_size or min(self.n_expert, DOCUMENTED_BATCH)

    def init_state(self, key: PRNGKeyArray) -> AdversarialState:
        key_networks, key_order = jax.random.split(key)
        seen, shaped = self.obs_size - self.drop_time, self.kind == "airl"
        networks = discriminator.init_discriminator(
            key_networks,
            seen,
            self.action_size,
            self.config.disc_net_arch or (AIRL_NET_ARCH if shaped else GAIL_NET_ARCH),
            self.config.potential_net_arch if shaped else None,
        )
        norms = discriminator.no_norms()
        if self.config.disc_normalize_input:
            norms = discriminator.init_norms(seen, self.action_size, shaped)
        return AdversarialState(
            learner=Learner(networks=networks, norms=norms, opt_state=self._optimizer.init(cast(Any, networks))),
            reward_norm=new_norm(1) if self.config.normalizes_output(self.kind) else None,
            buffer=self._empty_buffer(),
            expert=new_order(key_order, self.n_expert),
        )

    def reward(
        self, state: AdversarialState, seen: SeenEpisodes, demonstration: Transitions
    ) -> tuple[AdversarialState, Float[Array, "T N"]]:
        """Returns the rewards by the current discriminator, and the state with their statistics."""
        del demonstration
        transitions = episode_transitions(seen.episodes)
        score = discriminator.evaluate(state.learner.networks, state.learner.norms, self._shown(transitions))
        if self.kind == "gail":
            return state, discriminator.gail_reward(score)
        if state.reward_norm is None:
            return state, score
        norm, reward = jax.lax.scan(_normalize_step, state.reward_norm, score)
        return state.replace(reward_norm=norm), reward

    def update(
        self,
        state: AdversarialState,
        episodes: Episodes,
        policy: Params,
        demonstration: Transitions,
        key: PRNGKeyArray,
    ) -> tuple[AdversarialState, Metrics]:
        buffer = _appended(state.buffer, flatten(episode_transitions(episodes)))

        def step(carry: tuple[Learner, ExpertOrder], key: PRNGKeyArray):
            learner, order = carry
            key_order, key_sample = jax.random.split(key)
            expert, order = next_batch(key_order, order, demonstration, self.batch_size)
            generated = _sampled(key_sample, buffer, self.batch_size)
            learner, metrics = self.train_step(learner, expert, generated, policy)
            return (learner, order), metrics

        keys = jax.random.split(key, self.config.updates(self.kind))
        (learner, order), metrics = jax.lax.scan(step, (state.learner, state.expert), keys)
        state = state.replace(learner=learner, buffer=buffer, expert=order)
        return state, {name: jnp.mean(values) for name, values in metrics.items()}

    def train_step(
        self, learner: Learner, expert: Transitions, generated: Transitions, policy: Params
    ) -> tuple[Learner, Metrics]:
        """Takes one gradient step on a batch of the expert's transitions and one of the policy's, of equal size."""
        batch = jax.tree.map(lambda *x: jnp.concatenate(x), expert, generated)
        is_expert = (jnp.arange(batch.done.shape[0]) < expert.done.shape[0]).astype(jnp.float32)
        offset = self._log_prob(policy, batch) if self.kind == "airl" else 0.0

        def loss(networks: Discriminator):
            score, norms = discriminator.evaluate_in_training(networks, learner.norms, self._shown(batch))
            logit = score - offset
            return discriminator.classification_loss(logit, is_expert), (logit, norms)

        (value, (logit, norms)), gradient = jax.value_and_grad(loss, has_aux=True)(learner.networks)
        change, opt_state = self._optimizer.update(cast(Any, gradient), learner.opt_state)
        networks = optax.apply_updates(cast(Any, learner.networks), change)
        learner = learner.replace(networks=networks, norms=norms, opt_state=opt_state)
        return learner, _metrics(value, logit, is_expert)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.config.disc_learning_rate, eps=1e-8)

    def _shown(self, transitions: Transitions) -> Transitions:
        """Returns what the discriminator sees of the transitions."""
        if not self.drop_time:
            return transitions
        return transitions.replace(obs=transitions.obs[..., :-1], next_obs=transitions.next_obs[..., :-1])

    def _log_prob(self, policy: Params, batch: Transitions) -> Float[Array, " B"]:
        """Returns the log density of the batch's actions under the policy."""
        return ppo.log_prob(batch.action, *ppo.action_distribution(policy, batch.obs))

    def _empty_buffer(self) -> Buffer:
        size = self.config.disc_buffer_size or self.round_size
        obs, action = jnp.zeros((size, self.obs_size)), jnp.zeros((size, self.action_size))
        transitions = Transitions(obs=obs, action=action, next_obs=obs, done=jnp.zeros(size))
        return Buffer(transitions=transitions, count=jnp.zeros((), jnp.int32))


def _normalize_step(norm: RunningNorm, reward: Float[Array, " N"]) -> tuple[RunningNorm, Float[Array, " N"]]:
    """Returns the statistics after the rewards of one step, and the rewards normalised by those before it."""
    return update_norm(norm, reward[:, None]), normalize(norm, reward[:, None])[:, 0]


def _appended(buffer: Buffer, new: Transitions) -> Buffer:
    """Returns the buffer with the new transitions, without the oldest ones where it was full."""
    size = buffer.transitions.done.shape[0]
    transitions = jax.tree.map(lambda old, new: jnp.concatenate([old, new])[-size:], buffer.transitions, new)
    return Buffer(transitions=transitions, count=jnp.minimum(buffer.count + new.done.shape[0], size))


def _sampled(key: PRNGKeyArray, buffer: Buffer, n: int) -> Transitions:
    """Draws `n` of the buffer's transitions with replacement. Consumes `key`."""
    size = buffer.transitions.done.shape[0]
    index = size - 1 - jax.random.randint(key, (n,), 0, buffer.count)
    return jax.tree.map(lambda x: x[index], buffer.transitions)


def _metrics(loss: Float[Array, ""], logit: Float[Array, " B"], is_expert: Float[Array, " B"]) -> Metrics:
    """Metrics of a step under imitation's names. A logit of 0 counts as the expert's."""
    correct = ((logit >= 0) == (is_expert == 1)).astype(jnp.float32)
    return {
        "disc_loss": loss,
        "disc_acc": jnp.mean(correct),
        "disc_acc_expert": jnp.sum(correct * is_expert) / jnp.sum(is_expert),
        "disc_acc_gen": jnp.sum(correct * (1 - is_expert)) / jnp.sum(1 - is_expert),
    }
