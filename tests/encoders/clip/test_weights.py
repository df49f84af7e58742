"""Oracles: the published numbers of tensors and parameters, and names read off the released files."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.clip import (
    VIT_B_32,
    huggingface_state_spec,
    params_from_torch,
    rename_huggingface,
    torch_state_spec,
)
from rcjax.encoders.clip.vision import cut_patches
from tests.encoders.clip import synthetic

N_TOKENS = 49_408


def test_released_model_has_its_number_of_parameters():
    """302 tensors with 151,277,313 numbers; Hugging Face splits each of the 24 in_proj (two tensors) into three."""
    spec = torch_state_spec(VIT_B_32, N_TOKENS)
    assert len(spec) == 302 and sum(math.prod(shape) for shape, _ in spec.values()) == 151_277_313
    other = huggingface_state_spec(VIT_B_32, N_TOKENS)
    assert len(other) == 302 + 24 * 2 * 2 and sum(math.prod(shape) for shape, _ in other.values()) == 151_277_313


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("visual.conv1.weight", (768, 3, 32, 32)),
        ("visual.positional_embedding", (50, 768)),
        ("visual.transformer.resblocks.11.attn.in_proj_weight", (2304, 768)),
        ("transformer.resblocks.0.mlp.c_fc.weight", (2048, 512)),
        ("token_embedding.weight", (49408, 512)),
        ("text_projection", (512, 512)),
        ("logit_scale", ()),
    ],
)
def test_names_of_openai(name, shape):
    assert torch_state_spec(VIT_B_32, N_TOKENS)[name] == (shape, "float32")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("vision_model.embeddings.patch_embedding.weight", (768, 3, 32, 32)),
        ("vision_model.pre_layrnorm.weight", (768,)),
        ("vision_model.encoder.layers.11.self_attn.q_proj.weight", (768, 768)),
        ("vision_model.encoder.layers.3.mlp.fc1.bias", (3072,)),
        ("visual_projection.weight", (512, 768)),
        ("text_model.embeddings.position_embedding.weight", (77, 512)),
        ("text_model.final_layer_norm.bias", (512,)),
        ("logit_scale", ()),
    ],
)
def test_names_of_huggingface(name, shape):
    assert huggingface_state_spec(VIT_B_32, N_TOKENS)[name] == (shape, "float32")


def test_both_names_give_the_same_tensors():
    state = synthetic.random_state()
    sizes = (synthetic.ARCHITECTURE, synthetic.TOKENIZER.n_tokens)
    renamed = rename_huggingface(synthetic.huggingface_state(state), *sizes)
    assert renamed.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(renamed[name], array)


def test_patches_are_flattened_as_the_kernel_is():
    """By hand: an image that is 1 in one pixel and colour picks one row of the kernel."""
    state, sizes = synthetic.random_state(), synthetic.ARCHITECTURE
    kernel = params_from_torch(state, sizes)["video"]["conv1"]["kernel"]
    image = np.zeros((1, 224, 224, 3), np.float32)
    image[0, 56 + 3, 2 * 56 + 9, 1] = 1  # in the patch of row 1 and column 2
    patches = np.asarray(cut_patches(jnp.asarray(image), 56)) @ kernel
    np.testing.assert_allclose(patches[0, 1 * 4 + 2], state["visual.conv1.weight"][:, 1, 3, 9], rtol=1e-6)
    assert not patches[0, :6].any() and not patches[0, 7:].any()


def test_half_precision_becomes_float32():
    params = params_from_torch(synthetic.reduce_precision(synthetic.random_state()), synthetic.ARCHITECTURE)
    assert params["video"]["proj"]["kernel"].dtype == np.float32
    assert params["text"]["transformer"]["block1"]["attn"]["in_proj"]["kernel"].dtype == np.float32
