"""What every kind of encoder implements: how its networks turn clips and sentences into embeddings."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int32

from rcjax.messages import ArraySpecs

Params: TypeAlias = Mapping[str, Any]  # nested by name: modules, then parameters, which are arrays
Graph = Literal["auto", "native", "separable"]
BlockSide = Literal[1, 2, 4]  # pixels


@runtime_checkable
class Tokenizer(Protocol):
    """Maps sentences to the token ids that a text tower takes, on the host."""

    def tokenize(self, sentences: Sequence[str]) -> Int32[np.ndarray, "n words"]:
        """Returns the ids of each sentence. Raises ValueError for a sentence of which nothing is known."""
        ...

    def unknown_words(self, sentence: str) -> list[str]:
        """Returns the words that the vocabulary lacks, in order; the sentence is read without them."""
        ...

    def to_json(self) -> Any:
        """Returns the vocabulary as a checkpoint stores it."""
        ...


@runtime_checkable
class Network(Protocol):
    """The architecture of an encoder, without its parameters. It is hashable, so programs can close over it."""

    kind: ClassVar[str]
    """Name of the kind in checkpoints and messages"""

    @property
    def embedding_size(self) -> int: ...

    def default_clip(self) -> tuple[int, int]:
        """Returns the number of frames and the size of the clips to which videos are resampled by default."""
        ...

    def block_side(self, graph: Graph) -> BlockSide:
        """Returns the side in pixels of the blocks of two frames in which it likes clips best; 1 stands for frames.

        With a side of 2 they are in S3D's space-to-depth layout, [n F/2 H/2 W/2 24].
        """
        ...

    def check_clips(self, n_frames: int, size: int, pixel_scale: float) -> None:
        """Raises ValueError unless it takes clips of `n_frames` frames of `size` x `size`, scaled by `pixel_scale`."""
        ...

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
        """Returns the embedding of each clip [n F H W 3], uint8 of 0 to 255, in float32.

        `params` are the `Encoder.params`, of which only `video` has to be there. `dtype` is that of the activations,
        and `pixel_scale` multiplies the pixels. Clips may also be in blocks of `block_side`; then `size` is the side of
        their frames in pixels.
        """
        ...

    def embed_text(self, params: Params, token_ids: Array | np.ndarray) -> Float[Array, "n D"]:
        """Returns the embedding of each sentence in float32. `token_ids` come from the encoder's tokenizer."""
        ...

    def param_specs(self, tokenizer: Tokenizer | None) -> ArraySpecs:
        """Returns shape and dtype of every parameter by its path, such as video/conv1/kernel.

        Without a tokenizer there is no text tower.
        """
        ...

    def read_tokenizer(self, stored: Any) -> Tokenizer:
        """Returns the tokenizer that `Tokenizer.to_json` wrote. Raises ValueError for anything else."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Returns the architecture as a checkpoint stores it."""
        ...
