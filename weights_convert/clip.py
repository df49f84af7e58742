"""Converts the public files of CLIP ViT-B/32 to an encoder checkpoint.

The weights are OpenAI's TorchScript archive (ViT-B-32.pt), a safetensors file, or a state dict of torch.save, with
OpenAI's or Hugging Face's names; the vocabulary is OpenAI's list of merges.
"""

import functools
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from rcjax.encoders import Encoder
from rcjax.encoders.clip import (
    CLIP,
    VIT_B_32,
    Architecture,
    BytePairTokenizer,
    huggingface_state_spec,
    params_from_torch,
    rename_huggingface,
    torch_state_spec,
)
from rcjax.messages import ArraySpecs, escape, one_line
from weights_convert.convert import check_disk_space, check_out, check_values, file_sha256, save_atomically
from weights_convert.safetensors_file import is_safetensors, read_safetensors
from weights_convert.state_check import check_layouts, check_specs, flatten_modules, require_state_dict
from weights_convert.state_pickle import SCRIPTED_MODULE, Module, Tensor
from weights_convert.torch_file import read_tensors

MODEL = "CLIP"
N_MERGES = 48_894  # of the released model; the public list has more
MAX_VOCABULARY_BYTES = 32 * 2**20  # unpacked; the public list has 3.2 MB
MAX_LOGIT_SCALE = 10.0  # the released one is log(100) = 4.6
EXTRAS = ("input_resolution", "context_length", "vocab_size", "position_ids", "attn_mask")
"""The last parts of the names of tensors that are not weights"""
MAX_EXTRA_SIZE = 10_000  # elements; attn_mask has 77 x 77
REDUCED = ("float16", "bfloat16")  # dtypes in which released weights are stored


def convert_clip(
    weights: Path,
    vocabulary: Path,
    out: Path,
    *,
    logit_scale: bool = False,
    architecture: Architecture = VIT_B_32,
    n_merges: int = N_MERGES,
) -> Encoder:
    """Converts ViT-B-32.pt (`weights`) and bpe_simple_vocab_16e6.txt.gz to the checkpoint `out`; returns the encoder.

    `logit_scale` is that of `rcjax.encoders.clip.CLIP`. `out` is complete or does not exist, as for S3D. Raises
    ValueError with a message of one line if `out` exists, if it cannot be written, or if one of the files is wrong.
    """
    check_out(out)
    for path in (weights, vocabulary):
        if not path.is_file():
            raise ValueError(f"there is no file {path}; `python -m weights_convert --help` says where to get it.")
    tokenizer = BytePairTokenizer(read_merges(vocabulary, n_merges), architecture.context_length)
    spec = torch_state_spec(architecture, tokenizer.n_tokens)
    check_disk_space(out.absolute().parent, sum(4 * math.prod(shape) for shape, _ in spec.values()))
    state = read_state(weights, architecture, tokenizer.n_tokens)
    check_values(weights, state)
    _check_logit_scale(weights, state)
    params = params_from_torch(state, architecture)
    provenance = " ".join(f"{escape(path.name)} sha256:{file_sha256(path)}" for path in (weights, vocabulary))
    encoder = Encoder(CLIP(architecture, logit_scale), params, tokenizer, provenance)
    save_atomically(out, encoder)
    return encoder


def read_state(path: Path, architecture: Architecture, n_tokens: int) -> dict[str, np.ndarray]:
    """Returns the tensors of the file, with OpenAI's names, in float32.

    Raises ValueError, which begins with `path`, if it is not a complete file with the tensors of CLIP.
    """
    check = functools.partial(_names_of_weights, architecture=architecture, n_tokens=n_tokens)
    if is_safetensors(path):
        state = read_safetensors(path, check, MODEL)
    else:
        state = read_tensors(path, functools.partial(_select_tensors, check=check), MODEL, SCRIPTED_MODULE)
    state = {name: array.astype(np.float32) for name, array in state.items() if not _is_extra(name)}
    if _is_huggingface(state):
        return dict(rename_huggingface(state, architecture, n_tokens))
    return state


def _select_tensors(value: Any, check: functools.partial[list[str]]) -> dict[str, Tensor]:
    """Returns the weights in an unpickled value, and the small tensors beside them, which the older layout needs."""
    tensors = flatten_modules(value) if isinstance(value, Module) else require_state_dict(value)
    check({name: (tensor.shape, tensor.storage.dtype) for name, tensor in tensors.items()})
    check_layouts(tensors)
    return tensors


def _names_of_weights(found: ArraySpecs, architecture: Architecture, n_tokens: int) -> list[str]:
    """Returns the names of the tensors that are weights. Raises ValueError if they are not those of CLIP.

    Half precision is as good as float32.
    """
    weights = {}
    for name, (shape, dtype) in found.items():
        if not _is_extra(name):
            weights[name] = (shape, "float32" if dtype in REDUCED else dtype)
        elif math.prod(shape) > MAX_EXTRA_SIZE:
            raise ValueError(f"its tensor {escape(name)} has {math.prod(shape)} elements, over {MAX_EXTRA_SIZE}")
    make_spec = huggingface_state_spec if _is_huggingface(weights) else torch_state_spec
    check_specs(weights, make_spec(architecture, n_tokens))
    return list(weights)


def _is_extra(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in EXTRAS


def _is_huggingface(names: Any) -> bool:
    return "vision_model.embeddings.class_embedding" in names


def _check_logit_scale(path: Path, state: dict[str, np.ndarray]) -> None:
    value = float(state["logit_scale"])
    if not 0 <= value <= MAX_LOGIT_SCALE:
        raise ValueError(
            f"{path} is damaged: its logit_scale is {value:g}, expected 0 to {MAX_LOGIT_SCALE:g}; download it again."
        )


def read_merges(path: Path, n_merges: int = N_MERGES) -> tuple[str, ...]:
    """Returns the merges of bpe_simple_vocab_16e6.txt.gz that CLIP uses, which are those of lines 1 to `n_merges`.

    Line 0 says the version. Raises ValueError, which begins with `path`, for another file.
    """
    try:
        with gzip.open(path) as file:
            text = file.read(MAX_VOCABULARY_BYTES + 1)
        if len(text) > MAX_VOCABULARY_BYTES:
            raise ValueError(f"it has over {MAX_VOCABULARY_BYTES} bytes unpacked")
        merges = tuple(text.decode().split("\n")[1 : n_merges + 1])
        if len(merges) < n_merges:
            raise ValueError(f"it has {len(merges)} merges, expected at least {n_merges}")
        BytePairTokenizer(merges)
    except Exception as error:  # damaged files raise exceptions of several types
        reason = one_line(str(error), 300) or type(error).__name__
        raise ValueError(
            f"{path} is not CLIP's vocabulary: {reason}; expected bpe_simple_vocab_16e6.txt.gz of OpenAI's CLIP."
        ) from error
    return merges
