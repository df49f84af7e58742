"""The task's own dense reward: the oracle that methods without a reward are compared with."""

import dataclasses

from jax import Array
from jaxtyping import Float

from rcjax.rewards.source import RewardSource, RewardState, SeenEpisodes
from rcjax.types import Demonstration


@dataclasses.dataclass(frozen=True)
class DenseReward(RewardSource):
    """Pays each step what the environment pays, unscaled, as the release does for its baseline and in finetuning."""

    def reward(
        self, state: RewardState, seen: SeenEpisodes, demonstration: Demonstration
    ) -> tuple[RewardState, Float[Array, "T N"]]:
        del demonstration
        return state, seen.episodes.true_reward
