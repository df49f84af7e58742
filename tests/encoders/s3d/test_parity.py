"""Compares S3D with the PyTorch reference (benchmarks/torch_s3d.py), which runs here with the same weights."""

import functools

import jax
import numpy as np
import pytest

from rcjax.encoders.s3d import (
    TEXT_LAYERS,
    VIDEO_LAYERS,
    WordTokenizer,
    embed_text,
    embed_video,
    text_intermediates,
    torch_state_spec,
)
from tests.encoders.s3d import synthetic

torch = pytest.importorskip("torch")
torch_s3d = pytest.importorskip("benchmarks.torch_s3d")
pytestmark = pytest.mark.parity

PARITY = 1e-4  # float32, 40 layers, another order of summation
TOKENIZER = WordTokenizer({word: i for i, word in enumerate(synthetic.WORDS, start=1)})


@pytest.fixture(scope="module")
def model(state):
    model = torch_s3d.S3D(words=len(synthetic.WORDS) + 1).eval()
    model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return model


def relative_error(got, expected) -> float:
    return float(np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected))


def test_oracle_has_the_released_names_shapes_and_dtypes():
    with torch.device("meta"):
        state = torch_s3d.S3D().state_dict()
    found = {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state.items()}
    assert found == torch_state_spec()


@pytest.mark.parametrize(
    ("shape", "n", "graph"),
    [
        ((32, 64, 64), 2, "separable"),
        ((32, 64, 64), 2, "native"),
        ((16, 112, 112), 2, "separable"),
        ((32, 224, 224), 1, "separable"),
        ((32, 250, 250), 1, "separable"),
    ],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_video_embedding(shape, n, graph, model, params):
    clips = synthetic.structured_clips(n, *shape, seed=2)
    with torch.no_grad():
        expected = model.video_layers(torch_s3d.channels_first(clips))["embedding"].numpy()
    got = jax.jit(functools.partial(embed_video, graph=graph))(params, clips)
    assert relative_error(got, expected) < PARITY


def test_every_layer_on_odd_sizes(intermediates, model, clips):
    """The clips are of 20x50x66, which is halved to odd sizes on every axis."""
    with torch.no_grad():
        layers = model.video_layers(torch_s3d.channels_first(np.asarray(clips)))
    assert tuple(intermediates) == tuple(layers) == VIDEO_LAYERS
    for name, expected in layers.items():
        expected = expected.movedim(1, -1).numpy() if expected.ndim == 5 else expected.numpy()
        assert relative_error(intermediates[name], expected) < PARITY, name


def test_text(model, params):
    """Tests known words, unknown words, and more than 16 words."""
    sentences = [
        "robot closing green drawer",
        "a robot frobnicating the red button",
        "pushing the red box " * 6,
    ]
    ids = TOKENIZER.tokenize(sentences)
    with torch.no_grad():
        layers = model.text_module(torch.tensor(ids))
    got = text_intermediates(params, ids)
    assert tuple(got) == tuple(layers) == TEXT_LAYERS
    for name, expected in layers.items():
        assert relative_error(got[name], expected.numpy()) < PARITY, name
    assert relative_error(embed_text(params, ids), layers["fc2"].numpy()) < PARITY
