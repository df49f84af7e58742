"""A randomly initialised video tower: the paper's ablation, and the stand-in without converted weights."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.precision import in_32_bits
from rcjax.s3d.encoder import Encoder
from rcjax.s3d.video import Clips, VideoTower, prepare_clips

SMALLEST_SPREAD = 1e-6  # mean squared distance from the mean, of pooled features that are about 1


@in_32_bits
def random_encoder(
    key: Array,
    clips: Clips,
    *,
    provenance: str = "random",
    pixel_scale: float = 1 / 255,
) -> Encoder:
    """A random video tower, without a text tower, calibrated on `clips` so that it tells clips apart.

    Left as drawn, random weights give all clips nearly the same embedding: the signal dies out over S3D's
    many ReLUs and gates. So, layer by layer in one forward pass:

    - kernels are drawn as by He et al. (arXiv:1502.01852); each batch norm's statistics are those of its
      input over `clips`, its scale 1 and its bias 1;
    - gates have linear maps of variance 1 / fan-in and bias 0;
    - the last linear map is random, centred and scaled: over `clips`, embeddings have mean 0 and a mean
      squared norm of 1, so that dot products are 1 between like clips, and about 0 or negative between
      unlike ones.

    `clips` are at least two different ones, `[n T H W 3]` or space-to-depth, at the size they will be used;
    a few real episodes of the task do. `provenance` says where the key is from, e.g. "random(seed=0)". Host
    function: it compiles one program. Raises ValueError when the clips are all alike, or `pixel_scale` so large
    that features overflow.
    """
    prepared = prepare_clips(clips)
    if prepared.dtype == jnp.uint8:
        prepared = prepared.astype(jnp.float32) * pixel_scale
    shapes = jax.eval_shape(lambda: VideoTower().init(key, prepared))["params"]
    draw = jax.random.normal(key, (sum(a.size for a in jax.tree.leaves(shapes)),))
    drawn = _shape_like(np.asarray(draw), shapes)
    pooled, video = jax.jit(_calibrate)(drawn, prepared)
    spread = float(np.var(pooled, axis=0).sum())
    if not math.isfinite(spread):
        raise ValueError(
            f"the features of the {len(clips)} calibration clips are not finite with pixel_scale={pixel_scale}; S3D "
            "was made for pixels of 0 to 1 (pixel_scale=1/255), and takes 0 to 255 (pixel_scale=1)."
        )
    if not spread > SMALLEST_SPREAD:
        raise ValueError(
            f"the features of the {len(clips)} calibration clips differ by only {spread:.1e} (mean squared "
            "distance); give at least two clips that show different things."
        )
    return Encoder(params={"video": video}, vocabulary=None, provenance=provenance)


def _calibrate(
    drawn: dict[str, Any], clips: Float[Array, "n t h w 24"]
) -> tuple[Float[Array, "n 1024"], dict[str, Any]]:
    """Pooled features of `clips`, and the calibrated parameters."""
    _, state = VideoTower().apply({"params": drawn}, clips, mutable=["params", "intermediates"])
    state = cast(dict[str, Any], state)
    pooled, video = state["intermediates"]["pooled"][0], state["params"]
    centred = (pooled - pooled.mean(0)) @ video["fc"]["kernel"]
    kernel = video["fc"]["kernel"] * jax.lax.rsqrt(jnp.square(centred).sum(-1).mean())
    return pooled, {**video, "fc": {"kernel": kernel, "bias": -pooled.mean(0) @ kernel}}


def _shape_like(draw: Float[np.ndarray, " total"], shapes: dict[str, Any]) -> dict[str, Any]:
    """`draw` as kernels of variance 2 / fan-in (convolutions) or 1 / fan-in (linear maps); biases are 0.

    One draw, cut up on the host: a draw per kernel takes 20 s to compile.
    """
    leaves, start = [], 0
    flat, tree = jax.tree.flatten(shapes)
    for a in flat:
        gain = {5: 2, 2: 1, 1: 0}[len(a.shape)]
        part = draw[start : start + a.size].reshape(a.shape)
        leaves.append(part * math.sqrt(gain / math.prod(a.shape[:-1])))
        start += a.size
    return jax.tree.unflatten(tree, leaves)
