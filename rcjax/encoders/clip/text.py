"""The text tower, which maps sentences to embeddings."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from rcjax.encoders.clip.architecture import VIT_B_32, Architecture
from rcjax.encoders.clip.layers import LayerNorm, Transformer


class TextTower(nn.Module):
    """Maps token ids to embeddings, which are not normalised, in float32.

    The embedding is a linear map of what a causal transformer makes of the end token, which has the largest id (Radford
    et al. 2021, section 2.4). What follows the end token cannot change it. `n_tokens` is the size of the vocabulary.
    The parameter `logit_scale` belongs to the released model, and is not used here.
    """

    n_tokens: int
    architecture: Architecture = VIT_B_32

    @nn.compact
    def __call__(self, token_ids: Int[Array | np.ndarray, "n L"]) -> Float[Array, "n D"]:
        sizes, normal = self.architecture, nn.initializers.normal(0.02)
        self.param("logit_scale", nn.initializers.zeros, ())
        table = self.param("token_embedding", normal, (self.n_tokens, sizes.text_width))
        positions = self.param("positional_embedding", normal, (sizes.context_length, sizes.text_width))
        x = jnp.asarray(table)[token_ids] + positions
        x = Transformer(sizes.text_layers, sizes.text_heads, True, jnp.float32, name="transformer")(x)
        x = LayerNorm(jnp.float32, name="ln_final")(x)
        ends = jnp.asarray(token_ids).argmax(-1)
        x = jnp.take_along_axis(x, ends[:, None, None], axis=1)[:, 0]
        return nn.Dense(sizes.embedding_size, use_bias=False, precision=lax.Precision.HIGHEST, name="text_projection")(
            x
        )
