"""Episodes to video embeddings: poses -> frames -> S3D."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, UInt8

from rcjax.config import VideoConfig
from rcjax.render import Scene, WarpScene, render_clips, render_frames
from rcjax.s3d import embed_video
from rcjax.types import GeomPoses


def activation_dtype(video: VideoConfig) -> jnp.dtype:
    """S3D's activations: bfloat16 on accelerators, float32 on a CPU, where bfloat16 is slow."""
    if video.dtype == "auto":
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    return jnp.dtype(video.dtype)


def draw_clips(scene: Scene | WarpScene, poses: GeomPoses) -> UInt8[Array, "n *clip"]:
    """Episodes as S3D takes them: in its space-to-depth layout where the renderer draws that, else as frames."""
    if isinstance(scene, WarpScene) or scene.static.samples_per_side > 1:
        return render_frames(scene, poses)
    return render_clips(scene, poses)


def embed_frames(encoder: Any, frames_u8: Array, video: VideoConfig) -> Float[Array, "n D"]:
    """`frames_u8` are frames [n F H W 3], or clips from `draw_clips`."""
    return embed_video(
        encoder, frames_u8, dtype=activation_dtype(video), pixel_scale=video.pixel_scale, graph=video.graph
    )


def embed_episodes(
    scene: Scene | WarpScene, encoder: Any, poses: GeomPoses, video: VideoConfig, micro_batch: int
) -> Float[Array, "N D"]:
    """Each episode's video embedding, drawn and embedded one micro-batch after another: memory stays flat in N."""

    def embed(micro: GeomPoses) -> Float[Array, "n D"]:
        return embed_frames(encoder, draw_clips(scene, micro), video)

    micro_batches = jax.tree.map(lambda x: x.reshape(-1, micro_batch, *x.shape[1:]), poses)
    embedding = jax.lax.map(embed, micro_batches)
    return embedding.reshape(-1, embedding.shape[-1])
