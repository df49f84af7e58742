"""Oracles: outputs recorded from Hugging Face's CLIPModel, Pillow's resizing, and limit cases."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rcjax.encoders import Encoder, load_encoder, save_encoder
from rcjax.encoders.clip import CLIP, Architecture, params_from_torch
from rcjax.encoders.clip.text import TextTower
from rcjax.encoders.clip.vision import MEAN, STD, VisionTower, prepare_frames, resize
from rcjax.encoders.parameters import array_specs
from tests.encoders.clip import synthetic

NETWORK = CLIP(synthetic.ARCHITECTURE)
PARITY = 1e-5  # float32 through at most four layers, as part of the largest value
EMBED = functools.partial(NETWORK.embed_video, dtype=jnp.float32, pixel_scale=1 / 255, graph="auto")


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(jnp.asarray, params_from_torch(synthetic.random_state(), synthetic.ARCHITECTURE))


@pytest.fixture(scope="module")
def recorded():
    with np.load(synthetic.RECORDED) as file:
        return dict(file)


@pytest.fixture(scope="module")
def token_ids():
    return synthetic.TOKENIZER.tokenize(synthetic.SENTENCES)


@pytest.fixture(scope="module")
def embed():
    return jax.jit(EMBED)


@pytest.fixture(scope="module")
def embed_text():
    return jax.jit(NETWORK.embed_text)


def assert_close(got, expected, tolerance=PARITY):
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def layers_of(tower, params, example):
    """Returns the output of each block of the transformer."""
    run = functools.partial(tower.apply, capture_intermediates=True, mutable=["intermediates"])
    _, state = jax.jit(run)({"params": params}, example)
    return [layer["__call__"][0] for name, layer in state["intermediates"]["transformer"].items() if "block" in name]


def assert_layers_are_recorded(name, layers, recorded):
    assert f"{name}{len(layers)}" in recorded and f"{name}{len(layers) + 1}" not in recorded
    for i, layer in enumerate(layers, start=1):
        got = np.asarray(layer).ravel()
        assert_close(got[synthetic.sample_positions(got.size)], recorded[f"{name}{i}"])


def test_vision_layers_match_pytorch(params, recorded):
    images = prepare_frames(jnp.asarray(synthetic.clips()[:, -1]), 224, 1 / 255)
    tower = VisionTower(architecture=synthetic.ARCHITECTURE)
    assert_layers_are_recorded("video", layers_of(tower, params["video"], images), recorded)


def test_text_layers_match_pytorch(params, recorded, token_ids):
    tower = TextTower(synthetic.TOKENIZER.n_tokens, synthetic.ARCHITECTURE)
    assert_layers_are_recorded("text", layers_of(tower, params["text"], token_ids), recorded)


def test_embeddings_match_pytorch(params, recorded, token_ids, embed, embed_text):
    """They have length 1, so that their tolerance is that of a cosine."""
    video, text = embed(params, synthetic.clips()), embed_text(params, token_ids)
    assert video.dtype == text.dtype == jnp.float32
    np.testing.assert_allclose(video, recorded["video_embedding"], atol=PARITY)
    np.testing.assert_allclose(text, recorded["text_embedding"], atol=PARITY)
    assert np.linalg.norm(video[0] - video[1]) > 0.1, "the clips cannot be told apart: the test is too weak"
    assert np.linalg.norm(text[0] - text[1]) > 0.1


def test_logit_scale_gives_the_logits(params, recorded, token_ids, embed):
    """The release's reward is `logits_per_image`, which is 100 times the cosine."""
    text = jax.jit(CLIP(synthetic.ARCHITECTURE, logit_scale=True).embed_text)(params, token_ids)
    logits = embed(params, synthetic.clips()) @ text.T
    np.testing.assert_allclose(logits, recorded["logits_per_image"], atol=100 * PARITY)
    np.testing.assert_allclose(np.linalg.norm(text, axis=-1), 100, rtol=1e-5)


def test_only_the_last_frame_counts(params, embed):
    clips = synthetic.clips()
    expected = embed(params, clips)
    other = clips.copy()
    other[:, :-1] = 255 - other[:, :-1]
    np.testing.assert_array_equal(embed(params, other), expected)
    np.testing.assert_allclose(embed(params, clips[:, -1:]), expected, atol=PARITY)
    assert np.abs(embed(params, clips[:, :1]) - expected).max() > 0.01


def test_bfloat16_is_near_float32(params, embed):
    """Activations of 8 bits give cosines to about 1 %."""
    clips = synthetic.clips()
    half = jax.jit(functools.partial(NETWORK.embed_video, dtype=jnp.bfloat16, pixel_scale=1 / 255, graph="auto"))
    assert half(params, clips).dtype == jnp.float32
    np.testing.assert_allclose((half(params, clips) * embed(params, clips)).sum(-1), 1, atol=0.01)


def test_what_follows_the_end_token_does_not_count(params, embed_text):
    """The text tower is causal."""
    ids = synthetic.TOKENIZER.tokenize(["a box"])
    other = ids.copy()
    other[0, np.argmax(ids[0]) + 1 :] = 7
    assert (other != ids).any()
    np.testing.assert_allclose(embed_text(params, other), embed_text(params, ids), atol=PARITY)


def test_resizing_is_that_of_pillow():
    """Pillow's kernels have fixed-point weights, so that one pixel in a thousand is rounded to the other side."""
    frames = synthetic.clips(480)[:, -1]
    noise = np.random.RandomState(0).randint(0, 256, frames.shape).astype(np.uint8)
    for pictures in (frames, noise):
        expected = [Image.fromarray(picture).resize((224, 224), Image.Resampling.BICUBIC) for picture in pictures]
        difference = np.abs(np.asarray(resize(jnp.asarray(pictures, jnp.float32), 224)) - np.stack(expected))
        assert difference.max() <= 1 and difference.mean() < 0.001


def test_frames_of_the_release_are_resized(params, embed):
    """Embedding 480x480 equals embedding what Pillow makes of it, up to its rounding."""
    clips = synthetic.clips(480, n=1, n_frames=1)
    small = np.asarray(Image.fromarray(clips[0, 0]).resize((224, 224), Image.Resampling.BICUBIC))
    assert np.sum(embed(params, clips) * embed(params, small[None, None])) > 0.9999


def test_pixels_are_normalised():
    """By hand: a white and a black picture."""
    frames = jnp.stack([jnp.full((224, 224, 3), value, jnp.uint8) for value in (0, 255)])
    black, white = prepare_frames(frames, 224, 1 / 255)[:, 5, 7]
    np.testing.assert_allclose(black, -np.array(MEAN) / STD, rtol=1e-6)
    np.testing.assert_allclose(white, (1 - np.array(MEAN)) / STD, rtol=1e-6)


@pytest.mark.parametrize(("n_frames", "size"), [(1, 224), (32, 224), (7, 480)])
def test_clips_that_fit(n_frames, size):
    NETWORK.check_clips(n_frames, size, 1 / 255)
    NETWORK.check_clips(n_frames, size, 0.00392156862745098)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 224, 1 / 255), "a clip of 0 frames has no last frame.*--frame-stride"),
        ((32, 250, 1 / 255), "250x250 do not fit CLIP, which takes 224x224, or 480x480.*--size 224 or --size 480"),
        ((32, 0, 1 / 255), "frames of 0x0"),
        ((32, 224, 1.0), r"pixel_scale=1 does not fit CLIP.*--pixel-scale 0\.0039"),
    ],
)
def test_clips_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        NETWORK.check_clips(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(2, 3, 250, 250, 3), (2, 0, 224, 224, 3), (2, 3, 224, 224, 4), (2, 224, 224, 3)])
def test_arrays_of_another_shape_are_refused(shape, params):
    with pytest.raises(ValueError, match="got clips of shape"):
        EMBED(params, jnp.zeros(shape, jnp.uint8))


def test_arrays_of_another_dtype_are_refused(params):
    with pytest.raises(ValueError, match="got clips of dtype float32"):
        EMBED(params, jnp.zeros((1, 1, 224, 224, 3)))


def test_text_without_text_tower_is_refused(params, token_ids):
    with pytest.raises(ValueError, match="no text tower"):
        NETWORK.embed_text({"video": params["video"]}, token_ids)


def test_parameters_fit_their_specs(params):
    assert array_specs(params) == NETWORK.param_specs(synthetic.TOKENIZER)
    assert array_specs({"video": params["video"]}) == NETWORK.param_specs(None)


@pytest.mark.parametrize("network", [CLIP(), CLIP(synthetic.ARCHITECTURE, logit_scale=True)])
def test_network_is_stored_as_json(network):
    assert CLIP.from_json(json.loads(json.dumps(network.to_json()))) == network
    assert hash(network) == hash(CLIP.from_json(network.to_json()))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logit_scale": 1}, "true or false"),
        ({"more": 1}, "exactly the fields"),
        ({"architecture": None}, "its architecture does not have exactly"),
        ({"architecture": {"image_size": 224}}, "its architecture does not have exactly"),
        ({"architecture": CLIP().to_json()["architecture"] | {"vision_layers": 10**9}}, "vision_layers=1000000000"),
        ({"architecture": CLIP().to_json()["architecture"] | {"text_heads": 7}}, "is not a multiple of text_heads=7"),
        ({"architecture": CLIP().to_json()["architecture"] | {"text_width": "512"}}, "text_width='512', not a whole"),
        ({"architecture": CLIP().to_json()["architecture"] | {"patch_size": True}}, "patch_size=True, not a whole"),
        ({"architecture": CLIP().to_json()["architecture"] | {"context_length": 2}}, "must be at least 3"),
    ],
)
def test_other_json_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        CLIP.from_json(CLIP().to_json() | changed)


def test_defaults_are_vit_b_32():
    sizes = Architecture()
    assert sizes.n_patches == 49 and CLIP().embedding_size == 512 and not CLIP().logit_scale
    assert (CLIP.kind, CLIP().block_side("auto")) == ("clip", 1)


@pytest.mark.parametrize("tokenizer", [synthetic.TOKENIZER, None], ids=["with text", "without text"])
def test_checkpoint_keeps_the_encoder(tokenizer, params, tmp_path):
    towers = params if tokenizer else {"video": params["video"]}
    network = CLIP(synthetic.ARCHITECTURE, logit_scale=True)
    save_encoder(tmp_path / "clip", Encoder(network, towers, tokenizer, "synthetic"))
    loaded = load_encoder(tmp_path / "clip")
    assert (loaded.network, loaded.tokenizer, loaded.provenance) == (network, tokenizer, "synthetic")
    jax.tree.map(np.testing.assert_array_equal, loaded.params, towers)
