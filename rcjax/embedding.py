"""Episodes to video embeddings: poses -> frames -> encoder."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, UInt8

from rcjax import target
from rcjax.config import VideoConfig
from rcjax.encoders import Network, Params
from rcjax.encoders.network import Graph
from rcjax.render import Scene, WarpScene, render_clips, render_frames
from rcjax.types import GeomPoses


def activation_dtype(video: VideoConfig) -> jnp.dtype:
    """Returns the dtype of the encoder's activations.

    By default it is bfloat16 on accelerators, and float32 on CPUs, where bfloat16 is slow.
    """
    if video.dtype == "auto":
        return jnp.dtype(jnp.float32 if target.platform() == "cpu" else jnp.bfloat16)
    return jnp.dtype(video.dtype)


def draw_clips(scene: Scene | WarpScene, poses: GeomPoses, network: Network, graph: Graph) -> UInt8[Array, "n *clip"]:
    """Draws episodes as the encoder likes them best: in blocks where it takes them and the renderer draws them, else as
    frames."""
    side = network.block_side(graph)
    if side == 1 or isinstance(scene, WarpScene) or scene.static.samples_per_side > 1:
        return render_frames(scene, poses)
    return render_clips(scene, poses, side)


def embed_frames(network: Network, params: Params, frames_u8: Array, video: VideoConfig) -> Float[Array, "n D"]:
    """Returns the encoder's embedding of each clip, given as frames [n F H W 3] or as `draw_clips` draws them."""
    return network.embed_video(
        params, frames_u8, dtype=activation_dtype(video), pixel_scale=video.pixel_scale, graph=video.graph,
        size=video.size,
    )  # fmt: skip


def embed_episodes(
    scene: Scene | WarpScene, network: Network, params: Params, poses: GeomPoses, video: VideoConfig, micro_batch: int
) -> Float[Array, "N D"]:
    """Returns each episode's video embedding.

    Episodes are drawn and embedded one micro-batch after another, so the memory that this takes does not grow with N.
    """

    def embed(micro: GeomPoses) -> Float[Array, "n D"]:
        return embed_frames(network, params, draw_clips(scene, micro, network, video.graph), video)

    micro_batches = jax.tree.map(lambda x: x.reshape(-1, micro_batch, *x.shape[1:]), poses)
    embedding = jax.lax.map(embed, micro_batches)
    return embedding.reshape(-1, embedding.shape[-1])
