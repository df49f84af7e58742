"""A randomly initialised video tower, for runs without converted weights.

The reward of such an encoder tells episodes apart, and a policy can learn from it, but it does not understand the
video.
"""

import math
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.encoders.encoder import Encoder
from rcjax.encoders.network import Params
from rcjax.encoders.s3d.architecture import RELEASED, Architecture
from rcjax.encoders.s3d.network import S3D
from rcjax.encoders.s3d.video import Clips, VideoTower, prepare_clips
from rcjax.precision import in_32_bits

MIN_FEATURE_VARIANCE = 1e-6  # summed over the pooled features, which are about 1


@in_32_bits
def random_encoder(
    key: Array,
    clips: Clips,
    *,
    provenance: str = "random",
    pixel_scale: float = 1 / 255,
    architecture: Architecture = RELEASED,
) -> Encoder:
    """Returns an encoder with a random video tower and no text tower, calibrated on `clips` to tell clips apart.

    Without calibration, random weights give all clips nearly the same embedding, because the signal fades over S3D's
    many ReLUs and gates. Therefore, layer by layer in one forward pass:

    - kernels are drawn as proposed by He et al. (arXiv:1502.01852); each batch norm has scale 1, bias 1 and the
      statistics of its input over `clips`;
    - gates have linear maps of variance 1 / fan-in and bias 0;
    - the last linear map is random, centred and scaled: over `clips`, embeddings have mean 0 and a mean squared norm
      of 1, so that dot products are 1 between similar clips, and about 0 or negative between different ones.

    `clips` are at least two different clips, `[n T H W 3]` or space-to-depth, of the size at which the encoder will be
    used; a few real episodes of the task suffice. `provenance` says where the key comes from, e.g. "random(seed=0)".
    This is a host function that compiles one program. It raises ValueError if all clips are alike, if `pixel_scale`
    is so large that features overflow, and for an architecture whose embeddings have a fixed length.
    """
    if architecture.embedding_norm is not None:
        raise ValueError(f"embedding_norm={architecture.embedding_norm}; embeddings are centred: give None.")
    prepared = prepare_clips(clips)
    if prepared.dtype == jnp.uint8:
        prepared = prepared.astype(jnp.float32) * pixel_scale
    tower = VideoTower(architecture=architecture)
    shapes = jax.eval_shape(lambda: tower.init(key, prepared))["params"]
    normals = jax.random.normal(key, (sum(a.size for a in jax.tree.leaves(shapes)),))
    initial_params = _scale_normals(np.asarray(normals), shapes)
    pooled, video = jax.jit(_calibrate, static_argnums=0)(tower, initial_params, prepared)
    variance = float(np.var(pooled, axis=0).sum())
    if not math.isfinite(variance):
        raise ValueError(
            f"the features of the {len(clips)} calibration clips are not finite with pixel_scale={pixel_scale}; S3D "
            "was made for pixels of 0 to 1 (pixel_scale=1/255), and takes 0 to 255 (pixel_scale=1)."
        )
    if not variance > MIN_FEATURE_VARIANCE:
        raise ValueError(
            f"the features of the {len(clips)} calibration clips differ by only {variance:.1e} (mean squared "
            "distance); give at least two clips that show different things."
        )
    return Encoder(S3D(architecture), {"video": video}, None, provenance)


def _calibrate(
    tower: VideoTower, initial_params: Params, clips: Float[Array, "n t h w 24"]
) -> tuple[Float[Array, "n K"], Params]:
    """Returns the pooled features of `clips`, and the calibrated parameters."""
    _, state = tower.apply({"params": initial_params}, clips, mutable=["params", "intermediates"])
    state = cast(Params, state)
    pooled, video = state["intermediates"]["pooled"][0], state["params"]
    centred = (pooled - pooled.mean(0)) @ video["fc"]["kernel"]
    kernel = video["fc"]["kernel"] * jax.lax.rsqrt(jnp.square(centred).sum(-1).mean())
    return pooled, {**video, "fc": {"kernel": kernel, "bias": -pooled.mean(0) @ kernel}}


def _scale_normals(normals: Float[np.ndarray, " total"], shapes: Params) -> Params:
    """Splits `normals` into kernels of variance 2 / fan-in (convolutions) or 1 / fan-in (linear maps); biases are 0.

    One array of normals is drawn and split on the host, because one draw per kernel takes 20 s to compile.
    """
    leaves, start = [], 0
    flat, tree = jax.tree.flatten(shapes)
    for a in flat:
        gain = {5: 2, 2: 1, 1: 0}[len(a.shape)]
        values = normals[start : start + a.size].reshape(a.shape)
        leaves.append(values * math.sqrt(gain / math.prod(a.shape[:-1])))
        start += a.size
    return jax.tree.unflatten(tree, leaves)
