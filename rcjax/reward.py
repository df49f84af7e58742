"""The only reward: the similarity of the episode's video and the demonstration, paid at the last step."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def video_similarity(embedding: Float[Array, "N D"], target: Float[Array, " D"]) -> Float[Array, " N"]:
    """Returns the dot product of each episode's video embedding with the embedding of the demonstration.

    This is not a cosine: neither side is normalised, so its scale is that of S3D's embeddings.
    Source: section 3 of RoboCLIP (arXiv:2310.07899).
    """
    return jnp.einsum("nd,d->n", embedding, target, preferred_element_type=jnp.float32)


def episode_reward(similarity: Float[Array, " N"], episode_length: int) -> Float[Array, "T N"]:
    """Returns a reward of 0 on every step except the last, which is paid the similarity (equation 2 of the paper)."""
    return jnp.zeros((episode_length, *similarity.shape), similarity.dtype).at[-1].set(similarity)
