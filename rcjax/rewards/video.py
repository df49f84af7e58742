"""RoboCLIP's reward: the similarity of the episode's video and the demonstration, paid at the last step."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.rewards.source import RewardSource, RewardState, SeenEpisodes


@dataclasses.dataclass(frozen=True)
class VideoReward(RewardSource):
    """Pays the last step of an episode the similarity of its video and the target, and the steps before it nothing.

    The demonstration is the targets' embeddings [K D]. An episode is paid the similarity of the target that it is most
    similar to; a single target is the usual case.
    """

    looks_at_pixels: ClassVar[bool] = True

    def reward(
        self, state: RewardState, seen: SeenEpisodes, demonstration: Float[Array, "K D"]
    ) -> tuple[RewardState, Float[Array, "T N"]]:
        assert seen.embedding is not None
        similarity = jnp.max(video_similarity(seen.embedding, demonstration), axis=-1)
        return state, episode_reward(similarity, seen.episodes.true_reward.shape[0])


def video_similarity(embedding: Float[Array, "N D"], target: Float[Array, "*K D"]) -> Float[Array, "N *K"]:
    """Returns the dot product of each episode's video embedding with the embedding of the demonstration, or of each.

    This is not a cosine: neither side is normalised, so its scale is that of S3D's embeddings.
    Source: section 3 of RoboCLIP (arXiv:2310.07899).
    """
    return jnp.einsum("nd,...d->n...", embedding, target, preferred_element_type=jnp.float32)


def episode_reward(similarity: Float[Array, " N"], episode_length: int) -> Float[Array, "T N"]:
    """Returns a reward of 0 on every step except the last, which is paid the similarity (equation 2 of the paper)."""
    return jnp.zeros((episode_length, *similarity.shape), similarity.dtype).at[-1].set(similarity)
