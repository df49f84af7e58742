"""The widths and depth of an S3D: the released model's, or those that a checkpoint states."""

import dataclasses
from typing import Any

from rcjax.checks import require_integer

Widths = tuple[int, int, int, int, int, int]

BLOCK_WIDTHS: dict[str, Widths] = {
    "mixed_3b": (64, 96, 128, 16, 32, 32),
    "mixed_3c": (128, 128, 192, 32, 96, 64),
    "mixed_4b": (192, 96, 208, 16, 48, 64),
    "mixed_4c": (160, 112, 224, 24, 64, 64),
    "mixed_4d": (128, 128, 256, 24, 64, 64),
    "mixed_4e": (112, 144, 288, 32, 64, 64),
    "mixed_4f": (256, 160, 320, 32, 128, 128),
    "mixed_5b": (256, 160, 320, 32, 128, 128),
    "mixed_5c": (384, 192, 384, 48, 128, 128),
}
"""The inception blocks of the released model, in order; `InceptionBlock` explains the six widths"""

MAX_WIDTH = 1 << 14


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The sizes of an S3D's layers. The defaults are those of the released model (HowTo100M).

    `stem` has the widths of conv1, conv_2b and conv_2c, and `blocks` the names and widths of the inception blocks,
    which are some of `BLOCK_WIDTHS` in the same order. Before the first block of the fourth and of the fifth stage that
    is present (`mixed_4...`, `mixed_5...`), activations are max-pooled.

    Embeddings of clips and sentences are scaled to the length `embedding_norm`; None leaves them as they are.
    """

    stem: tuple[int, int, int] = (64, 64, 192)
    blocks: tuple[tuple[str, Widths], ...] = tuple(BLOCK_WIDTHS.items())
    embedding_size: int = 512
    word_embedding_size: int = 300
    hidden_size: int = 2048
    embedding_norm: float | None = None

    def __post_init__(self):
        names = [name for name, _ in self.blocks]
        if not names or names != [name for name in BLOCK_WIDTHS if name in names]:
            raise ValueError(f"blocks={names} are not some of S3D's blocks {list(BLOCK_WIDTHS)}, in this order.")
        sizes = (*self.stem, *(width for _, widths in self.blocks for width in widths))
        for size in (*sizes, self.embedding_size, self.word_embedding_size, self.hidden_size):
            require_integer("a width of S3D", size, 1, MAX_WIDTH)
        if len(self.stem) != 3 or any(len(widths) != 6 for _, widths in self.blocks):
            raise ValueError(f"stem={self.stem} needs three widths, and each of {self.blocks} six.")
        if self.embedding_norm is not None and not 0 < self.embedding_norm < 1e6:
            raise ValueError(f"embedding_norm={self.embedding_norm}; expected a positive number, or None.")

    @property
    def features(self) -> int:
        """Number of channels of the last block, which are averaged over time and space."""
        b0, _, b1, _, b2, b3 = self.blocks[-1][1]
        return b0 + b1 + b2 + b3

    @classmethod
    def from_json(cls, values: Any) -> "Architecture":
        """Returns the architecture that `dataclasses.asdict` wrote as JSON. Raises ValueError for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"its architecture does not have exactly the fields {sorted(names)}")
        try:
            blocks = tuple((str(name), tuple(widths)) for name, widths in values["blocks"])
            return cls(**{**values, "stem": tuple(values["stem"]), "blocks": blocks})
        except (TypeError, ValueError) as error:
            raise ValueError(f"its architecture is not valid: {error}") from error


RELEASED = Architecture()
"""The architecture of the released model"""
