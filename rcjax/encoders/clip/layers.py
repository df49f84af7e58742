"""The transformer that both towers of CLIP consist of.

Its blocks normalise their inputs (pre-norm), and their multilayer perceptrons have QuickGELU. Layer norms and softmax
are computed in float32, all else in the dtype of the activations; float32 uses full precision.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

LAYER_NORM_EPSILON = 1e-5  # as in the released model
SMALLEST_SQUARE = 1e-12  # added to a squared length, so that a row of zeros stays one


def precision_of(dtype: DTypeLike) -> lax.Precision:
    """Returns the precision of products: full for float32 (no TF32, no bfloat16 passes)."""
    return lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else lax.Precision.DEFAULT


def quick_gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns x sigmoid(1.702 x), which approximates GELU (Hendrycks and Gimpel, arXiv:1606.08415, section 2)."""
    return x * nn.sigmoid(1.702 * x)


def normalise(x: Float[Array, "n D"]) -> Float[Array, "n D"]:
    """Scales each row to length 1."""
    return x * lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + SMALLEST_SQUARE)


class LayerNorm(nn.Module):
    """Layer norm in float32, whatever the dtype of its input; `dtype` is that of its output."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "*batch W"]) -> Float[Array, "*batch W"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        return (centred * lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias).astype(self.dtype)


class Attention(nn.Module):
    """Multi-head self-attention. If `causal`, a token attends only to itself and to the tokens before it."""

    heads: int
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n L W"]) -> Float[Array, "n L W"]:
        n, length, width = x.shape
        precision = precision_of(self.dtype)
        qkv = nn.Dense(3 * width, dtype=self.dtype, precision=precision, name="in_proj")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(n, length, 3, self.heads, width // self.heads), 2, 0)
        logits = jnp.einsum("nqhd,nkhd->nhqk", q / math.sqrt(width // self.heads), k, precision=precision)
        logits = logits.astype(jnp.float32)
        if self.causal:
            logits = jnp.where(jnp.tri(length, dtype=bool), logits, -jnp.inf)
        weights = jax.nn.softmax(logits).astype(self.dtype)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", weights, v, precision=precision).reshape(n, length, width)
        return nn.Dense(width, dtype=self.dtype, precision=precision, name="out_proj")(mixed)


class Block(nn.Module):
    """Attention and a multilayer perceptron, each added to its normalised input's original."""

    heads: int
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n L W"]) -> Float[Array, "n L W"]:
        width, precision = x.shape[-1], precision_of(self.dtype)
        x = x + Attention(self.heads, self.causal, self.dtype, name="attn")(LayerNorm(self.dtype, name="ln_1")(x))
        hidden = LayerNorm(self.dtype, name="ln_2")(x)
        hidden = nn.Dense(4 * width, dtype=self.dtype, precision=precision, name="c_fc")(hidden)
        return x + nn.Dense(width, dtype=self.dtype, precision=precision, name="c_proj")(quick_gelu(hidden))


class Transformer(nn.Module):
    """`layers` blocks, one after another."""

    layers: int
    heads: int
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n L W"]) -> Float[Array, "n L W"]:
        for i in range(self.layers):
            x = Block(self.heads, self.causal, self.dtype, name=f"block{i}")(x)
        return x
