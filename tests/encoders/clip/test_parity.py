"""Oracles: Hugging Face's CLIPModel, PyTorch's own attention, and OpenCLIP's tokenizer, on random weights and texts."""

import functools
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.clip import CLIP, VIT_B_32, BytePairTokenizer, params_from_torch
from rcjax.encoders.clip.layers import Block
from tests.encoders.clip import synthetic
from tests.encoders.clip.openclip import import_tokenizer
from weights_convert.clip import read_merges

pytestmark = pytest.mark.parity
PARITY = 1e-4  # cosines in float32, through twelve blocks


@pytest.fixture(scope="module")
def reference():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.generators import clip

    return clip


def compare_with_huggingface(reference, architecture, tokenizer, sentences):
    import torch

    clips = synthetic.clips(n=3, n_frames=1)
    ids = tokenizer.tokenize(sentences)
    model = reference.huggingface_model(architecture, tokenizer.n_tokens)
    with torch.no_grad():
        expected = model(
            input_ids=torch.tensor(ids, dtype=torch.int64), pixel_values=reference.normalised_frames(clips)
        )
    state = synthetic.random_state(architecture, tokenizer.n_tokens)
    params = jax.tree.map(jnp.asarray, params_from_torch(state, architecture))
    network = CLIP(architecture, logit_scale=True)
    embed = jax.jit(functools.partial(network.embed_video, dtype=jnp.float32, pixel_scale=1 / 255, graph="auto"))
    video, text = embed(params, clips), jax.jit(network.embed_text)(params, ids)
    np.testing.assert_allclose(video, expected.image_embeds.numpy(), atol=PARITY)
    np.testing.assert_allclose(text, 100 * expected.text_embeds.numpy(), atol=100 * PARITY)
    np.testing.assert_allclose(video @ text.T, expected.logits_per_image.numpy(), atol=100 * PARITY)


def test_tiny_model_matches_huggingface(reference):
    compare_with_huggingface(reference, synthetic.ARCHITECTURE, synthetic.TOKENIZER, synthetic.SENTENCES)


@pytest.mark.slow
def test_released_sizes_match_huggingface(reference):
    tokenizer, recorded = synthetic.released_tokenizer()
    compare_with_huggingface(reference, VIT_B_32, tokenizer, list(recorded)[:4])


def test_block_is_made_of_pytorch_layers():
    """OpenAI's names are those of nn.MultiheadAttention, so that its order of q, k and v is checked by it alone."""
    torch = pytest.importorskip("torch")
    state, name = synthetic.random_state(), "visual.transformer.resblocks.1"
    parts = {key.removeprefix(f"{name}."): torch.tensor(array) for key, array in state.items() if key.startswith(name)}
    width, heads = synthetic.ARCHITECTURE.vision_width, synthetic.ARCHITECTURE.vision_heads
    attention = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    attention.load_state_dict({k.removeprefix("attn."): v for k, v in parts.items() if k.startswith("attn.")})
    x = torch.tensor(np.random.RandomState(0).normal(size=(2, 7, width)).astype(np.float32))

    def norm(value, which):
        return torch.nn.functional.layer_norm(value, (width,), parts[f"{which}.weight"], parts[f"{which}.bias"])

    with torch.no_grad():
        normed = norm(x, "ln_1")
        y = x + attention(normed, normed, normed, need_weights=False)[0]
        hidden = torch.nn.functional.linear(norm(y, "ln_2"), parts["mlp.c_fc.weight"], parts["mlp.c_fc.bias"])
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        expected = y + torch.nn.functional.linear(hidden, parts["mlp.c_proj.weight"], parts["mlp.c_proj.bias"])
    params = params_from_torch(state, synthetic.ARCHITECTURE)["video"]["transformer"]["block1"]
    got = Block(heads, False, jnp.float32).apply({"params": params}, jnp.asarray(x.numpy()))
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5 * float(expected.abs().max()))


def test_ids_of_random_texts_are_those_of_openclip():
    """Letters, digits, marks and accents at random; OpenCLIP repairs some other characters (ftfy), and we do not."""
    module, draw = import_tokenizer(), random.Random(0)
    ours, theirs = BytePairTokenizer(read_merges(Path(module.default_bpe()))), module.SimpleTokenizer()
    alphabet = (
        "abcdefghijklmnopqrstuvwxyz" * 3 + "ETAOIN   '''0123456789.,;:!?-_()[]{}+*/\\@#$%^~`|=<>\"éüßñçøжш中文é²½"
    )
    for _ in range(2000):
        text = "a" + "".join(draw.choices(alphabet, k=draw.randint(0, 60)))
        assert ours.tokenize([text])[0].tolist() == theirs([text])[0].tolist(), text
