"""The interface of rewards: where the numbers come from that PPO learns from.

An iteration is rollout -> reward -> PPO's update -> the source's own update, whatever the source is::

    state = source.init_state(key)
    state, reward = source.reward(state, seen, demonstration)          # [T N]
    policy = ...                                                       # PPO learns from the reward
    state, metrics = source.update(state, episodes, policy, demonstration, key)

All methods are pure, are traced into the compiled iteration, and work on the episodes of one seed.
"""

import abc
from typing import Any, ClassVar

from jax import Array
from jaxtyping import Float, PRNGKeyArray

from rcjax.ppo import PPOState
from rcjax.ppo.networks import Params
from rcjax.pytree import PyTree
from rcjax.rollout import Episodes
from rcjax.types import Demonstration

RewardState = Any
"""What a source learns: a pytree of arrays, or None"""

Metrics = dict[str, Float[Array, ""]]


class SeenEpisodes(PyTree):
    """Episodes, and the embeddings of their videos if the source of the reward looks at pixels."""

    episodes: Episodes
    embedding: Float[Array, "N D"] | None


class RewardSource(abc.ABC):
    """A reward. Subclasses are frozen dataclasses of their settings, and hold no arrays."""

    looks_at_pixels: ClassVar[bool] = False  # whether episodes are drawn and embedded
    replaces_ppo: ClassVar[bool] = False  # whether policies are trained by `train_policy`, and not by PPO

    def init_state(self, key: PRNGKeyArray) -> RewardState:
        """Returns the state that training begins with, None unless the source learns. Consumes `key`."""
        del key

    @abc.abstractmethod
    def reward(
        self, state: RewardState, seen: SeenEpisodes, demonstration: Demonstration
    ) -> tuple[RewardState, Float[Array, "T N"]]:
        """Returns the state after rewarding the episodes, which evaluations discard, and the reward of every step."""

    def update(
        self, state: RewardState, episodes: Episodes, policy: Params, demonstration: Demonstration, key: PRNGKeyArray
    ) -> tuple[RewardState, Metrics]:
        """Returns the state after learning from the iteration's episodes, and metrics.

        Args:
            state: The state after `reward`.
            episodes: The iteration's episodes.
            policy: The policy after PPO's update.
            demonstration: What the source learns to tell the episodes from.
            key: A random key; it is consumed.
        """
        del episodes, policy, demonstration, key
        return state, {}

    def train_policy(
        self, state: RewardState, policy: PPOState, episodes: Episodes, demonstration: Demonstration, key: PRNGKeyArray
    ) -> tuple[RewardState, PPOState, Metrics]:
        """Trains the policy in the place of PPO and of `update`, whose arguments these are.

        Only sources with `replaces_ppo` do so.
        """
        raise NotImplementedError
