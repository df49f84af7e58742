"""Slow NumPy definitions of S3D's layers and of the whole video tower, in float64, written from the description of the
model: the oracles for any width and depth. Source: S3D (arXiv:1712.04851) with the stem of MIL-NCE (arXiv:1912.06430).
"""

import itertools

import numpy as np

from rcjax.encoders import Params
from rcjax.encoders.s3d import Architecture


def convolution(x, kernel, pads):
    """Returns the valid cross-correlation of zero-padded x [n T H W I]."""
    x = np.pad(x.astype(np.float64), ((0, 0), *pads, (0, 0)))
    t, h, w = (x.shape[i + 1] - kernel.shape[i] + 1 for i in range(3))
    y = np.zeros((len(x), t, h, w, kernel.shape[-1]))
    for (i, j, k), taps in zip(np.ndindex(kernel.shape[:3]), kernel.reshape(-1, *kernel.shape[3:]), strict=True):
        y += x[:, i : i + t, j : j + h, k : k + w] @ taps
    return y


def max_pool(x, window, strides):
    """Returns the maximum over each window. The first one begins half of the overlap before the array; the last ones
    are cut off at its end."""
    shape = [-(-n // s) for n, s in zip(x.shape[1:4], strides, strict=True)]
    y = np.empty((len(x), *shape, x.shape[-1]), x.dtype)
    for at in np.ndindex(*shape):
        starts = [i * s - (k - s) // 2 for i, s, k in zip(at, strides, window, strict=True)]
        seen = [slice(max(start, 0), start + k) for start, k in zip(starts, window, strict=True)]
        y[(slice(None), *at)] = x[(slice(None), *seen)].max((1, 2, 3))
    return y


def conv(x, layer):
    """Returns the ReLU of a convolution that keeps the size. One of even size loses its first plane instead."""
    kernel = layer["kernel"]
    sizes = kernel.shape[:3]
    y = convolution(x, kernel, [(size // 2, size // 2) for size in sizes])
    first = tuple(slice(1 - size % 2, None) for size in sizes)
    return np.maximum(y[(slice(None), *first)] + layer["bias"], 0)


def separable(x, layer):
    return conv(conv(x, layer["spatial"]), layer["temporal"])


def gate(x, dense):
    logits = x.mean((1, 2, 3)) @ dense["kernel"].astype(np.float64) + dense["bias"]
    return x / (1 + np.exp(-logits[:, None, None, None]))


def block(x, layer, widths):
    """Returns the four gated branches of an inception block, side by side."""
    b0, b1, _, b2, _, _ = widths
    kernel, bias = layer["pointwise"]["kernel"], layer["pointwise"]["bias"]
    ends = (0, b0, b0 + b1, b0 + b1 + b2)
    y0, y1, y2 = (
        conv(x, {"kernel": kernel[..., start:end], "bias": bias[start:end]}) for start, end in itertools.pairwise(ends)
    )
    y1, y2 = separable(y1, layer["branch1"]), separable(y2, layer["branch2"])
    y3 = conv(max_pool(x, (3, 3, 3), (1, 1, 1)), layer["branch3"])
    return np.concatenate([gate(y, layer["gating"][f"fc{i}"]) for i, y in enumerate((y0, y1, y2, y3))], -1)


def video_layers(params: Params, clips: np.ndarray, architecture: Architecture) -> dict[str, np.ndarray]:
    """Returns the output of every layer by its name, for clips [n T H W 3] of 0 to 255."""
    video, layers = params["video"], {}
    x = _space_to_depth(clips / 255)
    layers["conv1"] = x = conv(x, video["conv1"])
    layers["maxpool_2a"] = x = max_pool(x, (1, 3, 3), (1, 2, 2))
    layers["conv_2b"] = x = conv(x, video["conv_2b"])
    layers["conv_2c"] = x = separable(x, video["conv_2c"])
    layers["gating"] = x = gate(x, video["gating"]["fc0"])
    layers["maxpool_3a"] = x = max_pool(x, (1, 3, 3), (1, 2, 2))
    stage = "3"
    for name, widths in architecture.blocks:
        if name[len("mixed_")] != stage:
            stage = name[len("mixed_")]
            window = {"4": (3, 3, 3), "5": (2, 2, 2)}[stage]
            layers[f"maxpool_{stage}a"] = x = max_pool(x, window, (2, 2, 2))
        layers[name] = x = block(x, video[name], widths)
    layers["pooled"] = x = x.mean((1, 2, 3))
    x = x @ video["fc"]["kernel"].astype(np.float64) + video["fc"]["bias"]
    layers["embedding"] = _scaled(x, architecture.embedding_norm)
    return layers


def text_embedding(params: Params, token_ids: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Returns the embeddings of sentences of 16 ids: a linear map and ReLU of each word, the maximum, a linear map."""
    text = params["text"]
    words = text["word_embd"][token_ids].astype(np.float64)
    x = np.maximum(words @ text["fc1"]["kernel"] + text["fc1"]["bias"], 0).max(1)
    return _scaled(x @ text["fc2"]["kernel"] + text["fc2"]["bias"], architecture.embedding_norm)


def _scaled(x, norm):
    return x if norm is None else norm * x / np.linalg.norm(x, axis=-1, keepdims=True)


def _space_to_depth(clips):
    """The channel is ((dt * 2 + dh) * 2 + dw) * 3 + c."""
    n, t, h, w, _ = clips.shape
    y = np.empty((n, t // 2, h // 2, w // 2, 24))
    for dt, dh, dw, c in np.ndindex(2, 2, 2, 3):
        y[..., ((dt * 2 + dh) * 2 + dw) * 3 + c] = clips[:, dt::2, dh::2, dw::2, c]
    return y
