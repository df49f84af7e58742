"""Converts the tensors of a released CLIP to the parameters of this package.

There are two sets of names for the same tensors: OpenAI's (https://github.com/openai/CLIP), which OpenCLIP shares, and
those of `CLIPModel` in Hugging Face's Transformers.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from rcjax.encoders.clip.architecture import Architecture
from rcjax.encoders.network import Params
from rcjax.messages import ArraySpecs

TorchState: TypeAlias = Mapping[str, np.ndarray]  # tensors by name
Arrays: TypeAlias = dict[str, np.ndarray]  # the parameters of one layer

HUGGINGFACE_TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
HUGGINGFACE_VISION = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",  # so spelt
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
}
HUGGINGFACE_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ln_2": "layer_norm2",
}
TRANSPOSED = ("text_projection", "visual.proj")  # in Hugging Face's layout


def torch_state_spec(architecture: Architecture, n_tokens: int) -> ArraySpecs:
    """Returns shape and dtype of every tensor by OpenAI's name. Released files may hold them in half precision."""
    sizes, patch = architecture, architecture.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (sizes.context_length, sizes.text_width),
        "text_projection": (sizes.text_width, sizes.embedding_size),
        "logit_scale": (),
        "token_embedding.weight": (n_tokens, sizes.text_width),
        "visual.class_embedding": (sizes.vision_width,),
        "visual.positional_embedding": (sizes.n_patches + 1, sizes.vision_width),
        "visual.proj": (sizes.vision_width, sizes.embedding_size),
        "visual.conv1.weight": (sizes.vision_width, 3, patch, patch),
    }
    for name, width in (
        ("ln_final", sizes.text_width),
        ("visual.ln_pre", sizes.vision_width),
        ("visual.ln_post", sizes.vision_width),
    ):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for i in range(sizes.vision_layers):
        shapes |= _block_shapes(f"visual.transformer.resblocks.{i}", sizes.vision_width)
    for i in range(sizes.text_layers):
        shapes |= _block_shapes(f"transformer.resblocks.{i}", sizes.text_width)
    return {name: (shape, "float32") for name, shape in shapes.items()}


def _block_shapes(block: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{block}.attn.in_proj_weight": (3 * width, width),
        f"{block}.attn.in_proj_bias": (3 * width,),
        f"{block}.attn.out_proj.weight": (width, width),
        f"{block}.attn.out_proj.bias": (width,),
        f"{block}.ln_1.weight": (width,),
        f"{block}.ln_1.bias": (width,),
        f"{block}.mlp.c_fc.weight": (4 * width, width),
        f"{block}.mlp.c_fc.bias": (4 * width,),
        f"{block}.mlp.c_proj.weight": (width, 4 * width),
        f"{block}.mlp.c_proj.bias": (width,),
        f"{block}.ln_2.weight": (width,),
        f"{block}.ln_2.bias": (width,),
    }


def huggingface_state_spec(architecture: Architecture, n_tokens: int) -> ArraySpecs:
    """Returns shape and dtype of every tensor by Hugging Face's name."""
    spec: ArraySpecs = {}
    for name, (shape, dtype) in torch_state_spec(architecture, n_tokens).items():
        parts = huggingface_names(name)
        if len(parts) == 3:
            shape = (shape[0] // 3, *shape[1:])
        elif name in TRANSPOSED:
            shape = shape[::-1]
        spec |= dict.fromkeys(parts, (shape, dtype))
    return spec


def huggingface_names(name: str) -> tuple[str, ...]:
    """Returns Hugging Face's name of a tensor; the rows of `in_proj` have three: queries, keys and values."""
    towers = {"visual.": ("vision_model", HUGGINGFACE_VISION), "": ("text_model", HUGGINGFACE_TEXT)}
    prefix = "visual." if name.startswith("visual.") else ""
    tower, names = towers[prefix]
    blocks = f"{prefix}transformer.resblocks."
    if not name.startswith(blocks):
        layer, _, part = name.rpartition(".")
        return (names[name],) if name in names else (f"{names[layer]}.{part}",)
    index, layer = name.removeprefix(blocks).split(".", 1)
    block = f"{tower}.encoder.layers.{index}"
    if layer.startswith("attn.in_proj_"):
        part = layer.removeprefix("attn.in_proj_")
        return tuple(f"{block}.self_attn.{which}_proj.{part}" for which in "qkv")
    layer, _, part = layer.rpartition(".")
    return (f"{block}.{HUGGINGFACE_BLOCK[layer]}.{part}",)


def rename_huggingface(state: TorchState, architecture: Architecture, n_tokens: int) -> TorchState:
    """Returns the tensors, which fit `huggingface_state_spec`, with OpenAI's names and shapes."""
    renamed = {}
    for name in torch_state_spec(architecture, n_tokens):
        parts = [state[part] for part in huggingface_names(name)]
        renamed[name] = np.concatenate(parts) if len(parts) == 3 else parts[0]
        if name in TRANSPOSED:
            renamed[name] = renamed[name].T
    return renamed


def params_from_torch(state: TorchState, architecture: Architecture) -> Params:
    """Returns `Encoder.params`, as host arrays in float32, from a state dict that fits `torch_state_spec`.

    Tensors are renamed and transposed.
    """
    state = {name: array.astype(np.float32, order="C") for name, array in state.items()}
    kernel = state["visual.conv1.weight"].transpose(2, 3, 1, 0)  # width, colour, row, column -> rows of a patch
    video = {
        "class_embedding": state["visual.class_embedding"],
        "positional_embedding": state["visual.positional_embedding"],
        "conv1": {"kernel": np.ascontiguousarray(kernel.reshape(-1, kernel.shape[-1]))},
        "ln_pre": _norm(state, "visual.ln_pre"),
        "transformer": _blocks(state, "visual.transformer", architecture.vision_layers),
        "ln_post": _norm(state, "visual.ln_post"),
        "proj": {"kernel": state["visual.proj"]},
    }
    text = {
        "logit_scale": state["logit_scale"],
        "token_embedding": state["token_embedding.weight"],
        "positional_embedding": state["positional_embedding"],
        "transformer": _blocks(state, "transformer", architecture.text_layers),
        "ln_final": _norm(state, "ln_final"),
        "text_projection": {"kernel": state["text_projection"]},
    }
    return {"video": video, "text": text}


def _blocks(state: TorchState, transformer: str, n_layers: int) -> dict[str, Any]:
    return {f"block{i}": _block(state, f"{transformer}.resblocks.{i}") for i in range(n_layers)}


def _block(state: TorchState, block: str) -> dict[str, Any]:
    return {
        "ln_1": _norm(state, f"{block}.ln_1"),
        "attn": {
            "in_proj": _dense(state[f"{block}.attn.in_proj_weight"], state[f"{block}.attn.in_proj_bias"]),
            "out_proj": _dense(state[f"{block}.attn.out_proj.weight"], state[f"{block}.attn.out_proj.bias"]),
        },
        "ln_2": _norm(state, f"{block}.ln_2"),
        "c_fc": _dense(state[f"{block}.mlp.c_fc.weight"], state[f"{block}.mlp.c_fc.bias"]),
        "c_proj": _dense(state[f"{block}.mlp.c_proj.weight"], state[f"{block}.mlp.c_proj.bias"]),
    }


def _norm(state: TorchState, name: str) -> Arrays:
    return {"scale": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}


def _dense(weight: np.ndarray, bias: np.ndarray) -> Arrays:
    return {"kernel": np.ascontiguousarray(weight.T), "bias": bias}
