"""The only reward: how much the episode's video resembles the demonstration, paid at the last step."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def video_similarity(embedding: Float[Array, "N D"], target: Float[Array, " D"]) -> Float[Array, " N"]:
    """Dot product of each episode's video embedding with the task specifier's.

    Not a cosine: neither side is normalised, so the scale is S3D's own.
    Source: section 3 of RoboCLIP (arXiv:2310.07899).
    """
    return jnp.einsum("nd,d->n", embedding, target, preferred_element_type=jnp.float32)


def episode_reward(similarity: Float[Array, " N"], episode_length: int) -> Float[Array, "T N"]:
    """0 on every step but the last, the similarity there (equation 2 of the paper)."""
    return jnp.zeros((episode_length, *similarity.shape), similarity.dtype).at[-1].set(similarity)
