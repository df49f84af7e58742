"""The sizes of a CLIP: those of ViT-B/32, or those that a checkpoint states."""

import dataclasses
from typing import Any

from rcjax.checks import require_integer, short_repr

LARGEST = {"layers": 128, "length": 4096, "size": 1 << 14}
"""The largest numbers that are accepted, by the end of a field's name; `size` is for all other fields"""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The sizes of the vision and the text transformer.

    The defaults are those of ViT-B/32 (Radford et al. 2021, arXiv:2103.00020, appendix F).

    Images have `image_size` x `image_size` pixels and are cut into patches of `patch_size` x `patch_size`. Sentences
    have `context_length` tokens, padding included.
    """

    image_size: int = 224
    patch_size: int = 32
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    context_length: int = 77
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    embedding_size: int = 512

    def __post_init__(self):
        for field in dataclasses.fields(self):
            largest = LARGEST.get(field.name.rsplit("_", 1)[-1], LARGEST["size"])
            require_integer(field.name, getattr(self, field.name), 1, largest)
        for size, part in (
            ("image_size", "patch_size"),
            ("vision_width", "vision_heads"),
            ("text_width", "text_heads"),
        ):
            if getattr(self, size) % getattr(self, part):
                raise ValueError(
                    f"{size}={getattr(self, size)} is not a multiple of {part}={getattr(self, part)}; each patch and "
                    "each attention head must be as large as the others."
                )
        if self.context_length < 3:
            raise ValueError(
                f"context_length={self.context_length}; it must be at least 3: a start, a token and an end."
            )

    @property
    def n_patches(self) -> int:
        """Number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def from_json(cls, values: Any) -> "Architecture":
        """Returns the architecture that `dataclasses.asdict` wrote as JSON. Raises ValueError for anything else."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"its architecture does not have exactly the fields {sorted(names)}")
        if wrong := [name for name, value in values.items() if type(value) is not int]:
            raise ValueError(f"its architecture has {wrong[0]}={short_repr(values[wrong[0]])}, not a whole number")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"its architecture is not valid: {error}") from error


VIT_B_32 = Architecture()
"""The architecture that RoboCLIP's release uses"""
