"""CLIP as a kind of encoder: the similarity of an episode's last frame with a sentence or a picture."""

import dataclasses
from typing import Any, ClassVar, cast

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rcjax.encoders.clip.architecture import VIT_B_32, Architecture
from rcjax.encoders.clip.layers import normalise
from rcjax.encoders.clip.text import TextTower
from rcjax.encoders.clip.tokenizer import BytePairTokenizer
from rcjax.encoders.clip.vision import RELEASE_SIZE, VisionTower, prepare_frames
from rcjax.encoders.network import BlockSide, Graph, Params, Tokenizer
from rcjax.encoders.parameters import array_specs, param_shapes
from rcjax.messages import ArraySpecs
from rcjax.precision import in_32_bits


@dataclasses.dataclass(frozen=True)
class CLIP:
    """A CLIP that embeds the last frame of each clip; all embeddings have length 1, so dot products are cosines.

    If `logit_scale`, embeddings of sentences are multiplied by exp(logit_scale), which is 100 in the released model.
    Then the dot product is `logits_per_image`, which RoboCLIP's release pays as the reward; the paper pays the
    similarity of embeddings.
    """

    kind: ClassVar[str] = "clip"

    architecture: Architecture = VIT_B_32
    logit_scale: bool = False

    @property
    def embedding_size(self) -> int:
        return self.architecture.embedding_size

    def default_clip(self) -> tuple[int, int]:
        """Returns one frame, the last of a video, of the size of the images that it was trained on."""
        return 1, self.architecture.image_size

    def block_side(self, graph: Graph) -> BlockSide:
        del graph
        return 1

    def check_clips(self, n_frames: int, size: int, pixel_scale: float) -> None:
        """Raises ValueError unless CLIP takes clips of `n_frames` frames of `size` x `size`, scaled so."""
        direct = self.architecture.image_size
        if n_frames < 1:
            raise ValueError(
                f"a clip of {n_frames} frames has no last frame, which CLIP embeds; give a --frame-stride that keeps "
                "at least one frame."
            )
        if size not in (direct, RELEASE_SIZE):
            raise ValueError(
                f"frames of {size}x{size} do not fit CLIP, which takes {direct}x{direct}, or {RELEASE_SIZE}x"
                f"{RELEASE_SIZE} and resizes them; give --size {direct} or --size {RELEASE_SIZE}, and --view 480 to "
                "show the whole height."
            )
        if not np.isclose(pixel_scale, 1 / 255):
            raise ValueError(
                f"pixel_scale={pixel_scale:g} does not fit CLIP, which was trained on pixels of 0 to 1; give "
                "--pixel-scale 0.00392156862745098."
            )

    @in_32_bits
    def embed_video(
        self,
        params: Params,
        clips: Array,
        *,
        dtype: DTypeLike,
        pixel_scale: float | Array,
        graph: Graph,
        size: int | None = None,
    ) -> Float[Array, "n D"]:
        """Returns the embedding of the last frame of each clip [n F H W 3], uint8 of 0 to 255, in float32.

        `graph` has no effect: there is one graph for all devices; `size` has none, as these are frames. Raises
        ValueError for clips of another shape or dtype.
        """
        sizes = (self.architecture.image_size, RELEASE_SIZE)
        if clips.ndim != 5 or not clips.shape[1] or clips.shape[2:] not in {(size, size, 3) for size in sizes}:
            raise ValueError(
                f"got clips of shape {clips.shape}; CLIP needs [n F H W 3] with at least one frame, and H = W = "
                f"{sizes[0]} or {sizes[1]}."
            )
        if clips.dtype != jnp.uint8:
            raise ValueError(f"got clips of dtype {clips.dtype}; CLIP needs uint8 in 0-255.")
        images = prepare_frames(jnp.asarray(clips)[:, -1], sizes[0], pixel_scale)
        embedding = VisionTower(dtype, self.architecture).apply({"params": params["video"]}, images)
        return normalise(cast(Array, embedding))

    @in_32_bits
    def embed_text(self, params: Params, token_ids: Array | np.ndarray) -> Float[Array, "n D"]:
        """Returns the embedding of each sentence, in float32. Raises ValueError if there is no text tower."""
        if "text" not in params:
            raise ValueError(
                "got text, but these parameters have no text tower; give a video as task specifier, or convert CLIP's "
                "weights with `python -m weights_convert`."
            )
        text = params["text"]
        tower = TextTower(jnp.shape(text["token_embedding"])[0], self.architecture)
        embedding = normalise(cast(Array, tower.apply({"params": text}, token_ids)))
        return embedding * jnp.exp(text["logit_scale"]) if self.logit_scale else embedding

    def param_specs(self, tokenizer: Tokenizer | None) -> ArraySpecs:
        sizes = self.architecture
        image = jnp.zeros((1, sizes.image_size, sizes.image_size, 3))
        towers = {"video": param_shapes(VisionTower(architecture=sizes), image)}
        if isinstance(tokenizer, BytePairTokenizer):
            ids = jnp.zeros((1, sizes.context_length), jnp.int32)
            towers["text"] = param_shapes(TextTower(tokenizer.n_tokens, sizes), ids)
        return array_specs(towers)

    def read_tokenizer(self, stored: Any) -> BytePairTokenizer:
        return BytePairTokenizer.from_json(stored, self.architecture.context_length)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "CLIP":
        """Returns the network that `to_json` wrote. Raises ValueError for anything else."""
        if not isinstance(values, dict) or set(values) != {"architecture", "logit_scale"}:
            raise ValueError("its `network` does not have exactly the fields architecture and logit_scale")
        if not isinstance(values["logit_scale"], bool):
            raise ValueError("its `network` does not say true or false in logit_scale")
        return cls(Architecture.from_json(values["architecture"]), values["logit_scale"])
