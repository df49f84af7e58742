"""S3D as a kind of encoder: an architecture, and the clips that its weights were trained on."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rcjax.encoders.network import BlockSide, Graph, Params, Tokenizer
from rcjax.encoders.parameters import array_specs, param_shapes
from rcjax.encoders.s3d.architecture import RELEASED, Architecture
from rcjax.encoders.s3d.layers import resolve_graph
from rcjax.encoders.s3d.text import MAX_WORDS, TextTower, WordTokenizer, embed_text
from rcjax.encoders.s3d.video import VideoTower, embed_video
from rcjax.messages import ArraySpecs

PAPER_CLIP = (32, 250)  # frames, and their size in pixels: section 3 of RoboCLIP (arXiv:2310.07899)
SMALLEST_SIZE = 32  # pixels: conv1 and the pools leave one cell


@dataclasses.dataclass(frozen=True)
class S3D:
    """An S3D. `n_frames` and `size` are those of the only clips that it takes; None means any even number.

    A network for which they are numbers was trained on such clips alone, and would not know others.
    """

    kind: ClassVar[str] = "s3d"

    architecture: Architecture = RELEASED
    n_frames: int | None = None
    size: int | None = None

    @property
    def embedding_size(self) -> int:
        return self.architecture.embedding_size

    def default_clip(self) -> tuple[int, int]:
        """Returns the number of frames and the size of the clips it was trained on, or else those of the paper."""
        return self.n_frames or PAPER_CLIP[0], self.size or PAPER_CLIP[1]

    def block_side(self, graph: Graph) -> BlockSide:
        """Returns 4 for the graph that is for TPUs (see `frame_stem`), and else 2."""
        return 4 if resolve_graph(graph) == "native" else 2

    def check_clips(self, n_frames: int, size: int, pixel_scale: float) -> None:
        """Raises ValueError unless S3D takes clips of `n_frames` frames of `size` x `size`."""
        clip = f"a clip of {n_frames} frames of {size}x{size}"
        if n_frames % 2 or size % 2 or size < SMALLEST_SIZE or n_frames < 2:
            raise ValueError(
                f"{clip} does not fit S3D, which needs an even number of frames and an even size of at least "
                f"{SMALLEST_SIZE}; change size and the number of frames (episode_length and frame_stride, or --frames)."
            )
        fixed_frames, fixed_size = self.n_frames or n_frames, self.size or size
        if (n_frames, size) != (fixed_frames, fixed_size):
            raise ValueError(
                f"{clip} does not fit this encoder, which was trained on {fixed_frames} frames of "
                f"{fixed_size}x{fixed_size} alone; give --size {fixed_size} and --frames {fixed_frames} (in training, "
                f"a --frame-stride that keeps {fixed_frames} frames), or name another --encoder."
            )
        if self.size is not None and not np.isclose(pixel_scale, 1 / 255):
            raise ValueError(
                f"pixel_scale={pixel_scale:g} does not fit this encoder, which was trained on pixels of 0 to 1; give "
                "--pixel-scale 0.00392156862745098, or name another --encoder."
            )

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
        return embed_video(
            params, clips, dtype=dtype, pixel_scale=pixel_scale, graph=graph, architecture=self.architecture, size=size
        )

    def embed_text(self, params: Params, token_ids: Array | np.ndarray) -> Float[Array, "n D"]:
        return embed_text(params, token_ids, architecture=self.architecture)

    def param_specs(self, tokenizer: Tokenizer | None) -> ArraySpecs:
        clip, ids = jnp.zeros((1, 1, 1, 1, 24)), jnp.zeros((1, MAX_WORDS), jnp.int32)
        towers = {"video": param_shapes(VideoTower(architecture=self.architecture), clip)}
        if isinstance(tokenizer, WordTokenizer):
            towers["text"] = param_shapes(TextTower(tokenizer.n_rows, self.architecture), ids)
        return array_specs(towers)

    def read_tokenizer(self, stored: Any) -> WordTokenizer:
        return WordTokenizer.from_json(stored)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> "S3D":
        """Returns the network that `to_json` wrote. Raises ValueError for anything else."""
        if not isinstance(values, dict) or set(values) != {"architecture", "n_frames", "size"}:
            raise ValueError("its `network` does not have exactly the fields architecture, n_frames and size")
        limits = {name: values[name] for name in ("n_frames", "size")}
        if any(not (limit is None or (type(limit) is int and limit > 0)) for limit in limits.values()):
            raise ValueError(f"its `network` has {limits}; expected whole numbers, or null for any")
        return cls(architecture=Architecture.from_json(values["architecture"]), **limits)
