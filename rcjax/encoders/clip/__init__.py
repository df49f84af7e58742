"""CLIP with a vision transformer, in Flax: an encoder that sees only the last frame of a clip.

RoboCLIP compares S3D with it in Figure 9: one image of the episode's end instead of its video. `CLIP` is the kind of
encoder (`rcjax.encoders.network.Network`); embeddings of images and of sentences have length 1, so that the dot product
of two of them is their cosine.

Sources: CLIP (Radford et al. 2021, arXiv:2103.00020); RoboCLIP (arXiv:2310.07899, Figure 9).
"""

from rcjax.encoders.clip.architecture import VIT_B_32, Architecture
from rcjax.encoders.clip.network import CLIP
from rcjax.encoders.clip.tokenizer import BytePairTokenizer
from rcjax.encoders.clip.weights import (
    huggingface_state_spec,
    params_from_torch,
    rename_huggingface,
    torch_state_spec,
)

__all__ = [
    "CLIP",
    "VIT_B_32",
    "Architecture",
    "BytePairTokenizer",
    "huggingface_state_spec",
    "params_from_torch",
    "rename_huggingface",
    "torch_state_spec",
]
