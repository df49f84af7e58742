"""A tiny CLIP with random weights, made with NumPy only, and therefore the same on every machine.

Its images have the real size, so that the release's preparation is tested as it is; all else is small.
"""

import json
import math
import zlib
from pathlib import Path

import numpy as np

from rcjax.encoders.clip import VIT_B_32, Architecture, BytePairTokenizer, huggingface_state_spec, torch_state_spec
from rcjax.encoders.clip.weights import TRANSPOSED, huggingface_names
from tests.encoders.s3d.synthetic import structured_clips

DATA = Path(__file__).parents[2] / "data"
RECORDED = DATA / "clip_recorded.npz"
TOKENS = DATA / "clip_tokens.json"
ARCHITECTURE = Architecture(
    image_size=224,
    patch_size=56,
    vision_width=48,
    vision_layers=3,
    vision_heads=4,
    context_length=10,
    text_width=24,
    text_layers=2,
    text_heads=3,
    embedding_size=20,
)
MERGES = ("r o", "ro b", "o t</w>", "rob ot</w>", "b o", "bo x</w>")
TOKENIZER = BytePairTokenizer(MERGES, ARCHITECTURE.context_length)
SENTENCES = ("robot box", "Robot, open it!", "a")


def random_state(architecture: Architecture = ARCHITECTURE, n_tokens: int = TOKENIZER.n_tokens):
    """Returns every tensor by OpenAI's name. Random numbers come from RandomState, whose streams never change."""
    state = {}
    for name, (shape, _) in torch_state_spec(architecture, n_tokens).items():
        draw = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape) * 2 - 1
        if name == "logit_scale":
            value = np.array(math.log(100))
        elif "ln_" in name:  # scales of 0.6 to 1.4, biases of -0.4 to 0.4
            value = 0.4 * draw + name.endswith("weight")
        elif len(shape) == 1 or "embedding" in name:
            value = draw
        else:
            fan_in = shape[0] if name in TRANSPOSED else math.prod(shape[1:])
            value = draw * math.sqrt(3 / fan_in)
        state[name] = value.astype(np.float32)
    return state


def huggingface_state(state, architecture: Architecture = ARCHITECTURE, n_tokens: int = TOKENIZER.n_tokens):
    """Returns the same tensors by Hugging Face's names."""
    renamed = {}
    for name, array in state.items():
        parts = huggingface_names(name)
        arrays = np.split(array, 3) if len(parts) == 3 else [array.T if name in TRANSPOSED else array]
        renamed |= dict(zip(parts, arrays, strict=True))
    spec = huggingface_state_spec(architecture, n_tokens)
    assert {name: (array.shape, str(array.dtype)) for name, array in renamed.items()} == spec
    return renamed


def reduce_precision(state):
    """Returns the state as OpenAI published it: linear maps in half precision, all else in float32."""
    whole = ("ln_", "embedding", "logit_scale")
    return {name: array if any(w in name for w in whole) else array.astype(np.float16) for name, array in state.items()}


def clips(size: int = 224, n: int = 2, n_frames: int = 3) -> np.ndarray:
    return structured_clips(n, n_frames, size, size, seed=3)


def sample_positions(size: int) -> np.ndarray:
    """Returns the 256 positions of a flattened layer that are recorded."""
    return np.random.RandomState(size).randint(0, size, 256)


def released_tokenizer() -> tuple[BytePairTokenizer, dict[str, list[int]]]:
    """Returns a tokenizer for the recorded sentences, and their ids.

    The tokenizer has the merges that can occur in these sentences, each at its place in the released list; those
    between them join two bytes 0, which no sentence has.
    """
    recorded = json.loads(TOKENS.read_text())
    merges = ["Ā Ā"] * recorded["n_merges"]
    for place, merge in recorded["merges"].items():
        merges[int(place)] = merge
    return BytePairTokenizer(tuple(merges), VIT_B_32.context_length), recorded["ids"]
