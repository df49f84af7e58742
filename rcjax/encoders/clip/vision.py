"""The vision tower, which maps images to embeddings, and the preparation of the last frame of a clip."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, UInt8

from rcjax.encoders.clip.architecture import VIT_B_32, Architecture
from rcjax.encoders.clip.layers import LayerNorm, Transformer, precision_of

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of the pixels that the released model was trained on, as 0 to 1
STD = (0.26862954, 0.26130258, 0.27577711)
RELEASE_SIZE = 480  # pixels: the release renders 640x480, of which the network sees the centre


class VisionTower(nn.Module):
    """Maps normalised images to embeddings, which are not normalised.

    Patches are mapped linearly, a class token is put before them, and the embedding is a linear map of what the
    transformer makes of that token (Radford et al. 2021, section 2.4). `dtype` is the dtype of the activations; the
    last layer norm and the linear map after it are float32.
    """

    dtype: DTypeLike = jnp.float32
    architecture: Architecture = VIT_B_32

    @nn.compact
    def __call__(self, images: Float[Array, "n H W 3"]) -> Float[Array, "n D"]:
        sizes, normal = self.architecture, nn.initializers.normal(0.02)
        width = sizes.vision_width
        options = {"use_bias": False, "dtype": self.dtype, "precision": precision_of(self.dtype)}
        x = nn.Dense(width, **options, name="conv1")(cut_patches(images, sizes.patch_size).astype(self.dtype))
        token = self.param("class_embedding", normal, (width,)).astype(self.dtype)
        positions = self.param("positional_embedding", normal, (sizes.n_patches + 1, width)).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, width)), x], axis=1) + positions
        x = LayerNorm(self.dtype, name="ln_pre")(x)
        x = Transformer(sizes.vision_layers, sizes.vision_heads, False, self.dtype, name="transformer")(x)
        x = LayerNorm(jnp.float32, name="ln_post")(x[:, 0])
        return nn.Dense(sizes.embedding_size, use_bias=False, precision=lax.Precision.HIGHEST, name="proj")(x)


def cut_patches(images: Float[Array, "n H W 3"], size: int) -> Float[Array, "n P C"]:
    """Returns the patches of `size` x `size` pixels, row by row, each flattened in the order row, column, colour."""
    n, height, width, colours = images.shape
    x = images.reshape(n, height // size, size, width // size, size, colours)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, size * size * colours)


def prepare_frames(
    frames: UInt8[Array, "n H W 3"], image_size: int, pixel_scale: float | Array
) -> Float[Array, "n h w 3"]:
    """Returns frames as the vision tower takes them, in float32: resized if needed, scaled and normalised."""
    x = frames.astype(jnp.float32)
    if frames.shape[1] != image_size:
        x = resize(x, image_size)
    return (x * pixel_scale - jnp.array(MEAN, jnp.float32)) / jnp.array(STD, jnp.float32)


def resize(frames: Float[Array, "n H W 3"], size: int) -> Float[Array, "n h w 3"]:
    """Resizes frames of 0 to 255 to `size` x `size` by bicubic interpolation, as Pillow does, which the release uses.

    Shrinking widens the kernel, which is that of Keys (1981) with a = -0.5. The width is resized before the height, and
    both times pixels become whole numbers of 0 to 255. The release resizes the whole 640x480 picture to 298x224 and
    crops afterwards: its pixels lie up to half a pixel of the large picture beside these.
    """
    n, height, _, colours = frames.shape
    for shape in ((n, height, size, colours), (n, size, size, colours)):
        frames = jnp.clip(jnp.round(jax.image.resize(frames, shape, "cubic", antialias=True)), 0, 255)
    return frames
