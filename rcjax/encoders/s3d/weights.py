"""Converts the released PyTorch state dict to the parameters of this package.

Names and shapes are those of the 537 tensors in s3d_howto100m.pth (Miech et al. 2020,
https://github.com/antoine77340/S3D_HowTo100M).
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from rcjax.encoders.network import Params
from rcjax.encoders.s3d.architecture import BLOCK_WIDTHS, RELEASED
from rcjax.encoders.s3d.layers import BATCH_NORM_EPSILON
from rcjax.messages import ArraySpecs, enumerate_names

VOCABULARY_SIZE = 66249
TorchState: TypeAlias = Mapping[str, np.ndarray]  # tensors by name
Arrays: TypeAlias = dict[str, np.ndarray]  # `kernel` and `bias` of one layer
FoldedConvolutions: TypeAlias = Mapping[str, Arrays]  # by the name of the convolution


def torch_state_spec(vocabulary_size: int = VOCABULARY_SIZE) -> ArraySpecs:
    """Returns shape and dtype of every tensor of the released model, by name."""
    spec: ArraySpecs = {}
    for name, out, channels, kernel in _convolutions():
        conv, norm = name
        spec[f"{conv}.weight"] = ((out, channels, *kernel), "float32")
        for part in ("weight", "bias", "running_mean", "running_var"):
            spec[f"{norm}.{part}"] = ((out,), "float32")
        spec[f"{norm}.num_batches_tracked"] = ((), "int64")
    for name, out, channels in _linears():
        spec[f"{name}.weight"] = ((out, channels), "float32")
        spec[f"{name}.bias"] = ((out,), "float32")
    spec["text_module.word_embd.weight"] = ((vocabulary_size + 1, RELEASED.word_embedding_size), "float32")
    return spec


def params_from_torch(state: TorchState) -> Params:
    """Returns `Encoder.params`, as host arrays, from a state dict that fits `torch_state_spec`.

    Tensors are renamed and transposed, and batch norm is folded in float64. `num_batches_tracked` is not used. Raises
    ValueError, which names the tensors, if finite weights are so large that a folded kernel or bias is not finite in
    float32.
    """
    folded = _fold_batch_norms(state)
    video: dict[str, Any] = {
        "conv1": _conv(folded, "conv1"),
        "conv_2b": _conv(folded, "conv_2b"),
        "conv_2c": _separable(folded, "conv_2c"),
        "gating": {"fc0": _dense(state, "gating.fc")},
        "fc": _dense(state, "fc"),
    }
    for name in BLOCK_WIDTHS:
        pointwise = [_conv(folded, f"{name}.{branch}") for branch in ("conv_b0", "conv_b1_a", "conv_b2_a")]
        video[name] = {
            "pointwise": {part: np.concatenate([p[part] for p in pointwise], -1) for part in ("kernel", "bias")},
            "branch1": _separable(folded, f"{name}.conv_b1_b"),
            "branch2": _separable(folded, f"{name}.conv_b2_b"),
            "branch3": _conv(folded, f"{name}.conv_b3_b"),
            "gating": {f"fc{i}": _dense(state, f"{name}.gating_b{i}.fc") for i in range(4)},
        }
    text = {
        "word_embd": state["text_module.word_embd.weight"],
        "fc1": _dense(state, "text_module.fc1"),
        "fc2": _dense(state, "text_module.fc2"),
    }
    return {"video": video, "text": text}


def fold_batch_norm(
    kernel: np.ndarray, weight: np.ndarray, bias: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> Arrays:
    """Returns kernel and bias of a convolution that equals one by `kernel` (outputs last) followed by batch norm.

    Numbers beyond float32 become infinite, and a negative variance gives NaN.
    """
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = weight.astype(np.float64) / np.sqrt(var.astype(np.float64) + BATCH_NORM_EPSILON)
        return {"kernel": (kernel * scale).astype(np.float32), "bias": (bias - mean * scale).astype(np.float32)}


def _fold_batch_norms(state: TorchState) -> FoldedConvolutions:
    """Folds the batch norm of every convolution; raises ValueError if a result is not finite."""
    folded, overflowing = {}, []
    for (conv, norm), *_ in _convolutions():
        kernel = state[f"{conv}.weight"].transpose(2, 3, 4, 1, 0)  # OIDHW -> DHWIO
        parts = (state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        folded[conv] = fold_batch_norm(kernel, *parts)
        if not all(np.isfinite(array).all() for array in folded[conv].values()):
            overflowing.append(f"{norm} into {conv}.weight")
    if overflowing:
        raise ValueError(
            f"folding batch norm {enumerate_names(overflowing)} gives values that float32 cannot represent; these "
            "weights are damaged: use the released ones."
        )
    return folded


def _conv(folded: FoldedConvolutions, name: str, index: int = 1) -> Arrays:
    return folded[f"{name}.conv{index}"]


def _separable(folded: FoldedConvolutions, name: str) -> dict[str, Arrays]:
    return {"spatial": _conv(folded, name, 1), "temporal": _conv(folded, name, 2)}


def _dense(state: TorchState, name: str) -> Arrays:
    return {"kernel": np.ascontiguousarray(state[f"{name}.weight"].T), "bias": state[f"{name}.bias"]}


def _convolutions() -> Iterator[tuple[tuple[str, str], int, int, tuple[int, int, int]]]:
    """Yields ((name, batch norm's name), output channels, input channels, kernel size) of every convolution."""

    def plain(name: str, out: int, channels: int, kernel: tuple[int, int, int] = (1, 1, 1)):
        yield (f"{name}.conv1", f"{name}.bn1"), out, channels, kernel

    def separable(name: str, out: int, channels: int):
        yield (f"{name}.conv1", f"{name}.bn1"), out, channels, (1, 3, 3)
        yield (f"{name}.conv2", f"{name}.bn2"), out, out, (3, 1, 1)

    yield from plain("conv1", 64, 24, (2, 4, 4))
    yield from plain("conv_2b", 64, 64)
    yield from separable("conv_2c", 192, 64)
    channels = 192
    for block, (b0, b1_in, b1_out, b2_in, b2_out, b3) in BLOCK_WIDTHS.items():
        yield from plain(f"{block}.conv_b0", b0, channels)
        yield from plain(f"{block}.conv_b1_a", b1_in, channels)
        yield from separable(f"{block}.conv_b1_b", b1_out, b1_in)
        yield from plain(f"{block}.conv_b2_a", b2_in, channels)
        yield from separable(f"{block}.conv_b2_b", b2_out, b2_in)
        yield from plain(f"{block}.conv_b3_b", b3, channels)
        channels = b0 + b1_out + b2_out + b3


def _linears() -> Iterator[tuple[str, int, int]]:
    """Yields (name, output size, input size) of every linear map."""
    yield "gating.fc", 192, 192
    for block, (b0, _, b1_out, _, b2_out, b3) in BLOCK_WIDTHS.items():
        for i, width in enumerate((b0, b1_out, b2_out, b3)):
            yield f"{block}.gating_b{i}.fc", width, width
    yield "fc", RELEASED.embedding_size, RELEASED.features
    yield "text_module.fc1", RELEASED.hidden_size, RELEASED.word_embedding_size
    yield "text_module.fc2", RELEASED.embedding_size, RELEASED.hidden_size
