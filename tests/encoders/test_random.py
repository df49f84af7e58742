"""Tests the properties that `random_encoder` promises."""

import functools

import jax
import numpy as np
import pytest

from rcjax.encoders import random_encoder
from rcjax.encoders.s3d import S3D, embed_video
from rcjax.encoders.s3d.architecture import RELEASED
from rcjax.encoders.s3d.layers import convolve
from rcjax.encoders.s3d.video import prepare_clips
from tests.encoders import tiny
from tests.encoders.s3d import synthetic

SHAPE = (8, 32, 32)  # T, H, W


@pytest.fixture(scope="module")
def clips():
    return synthetic.structured_clips(6, *SHAPE)


@pytest.fixture(scope="module", params=["narrow", pytest.param("released", marks=pytest.mark.slow)])
def architecture(request):
    return {"narrow": tiny.RANDOM, "released": RELEASED}[request.param]


@pytest.fixture(scope="module")
def encoder(clips, architecture):
    return random_encoder(jax.random.key(0), clips, provenance="random(seed=0)", architecture=architecture)


@pytest.fixture(scope="module")
def embed(encoder, architecture):
    return functools.partial(jax.jit(functools.partial(embed_video, architecture=architecture)), encoder.params)


@pytest.fixture(scope="module")
def embeddings(embed, clips):
    return np.asarray(embed(clips))


def test_embeddings_of_the_clips_are_centred_with_mean_squared_norm_1(embeddings):
    np.testing.assert_allclose(embeddings.mean(0), 0, atol=1e-4)  # float32 sums over 1024 features of about 1
    np.testing.assert_allclose(np.square(embeddings).sum(-1).mean(), 1, rtol=1e-4)


def test_embeddings_of_a_fixed_length_cannot_be_centred(clips):
    with pytest.raises(ValueError, match=r"embedding_norm=2.0; embeddings are centred: give None"):
        random_encoder(jax.random.key(0), clips, architecture=tiny.ARCHITECTURE)


def test_dot_products_tell_clips_apart(embeddings, architecture):
    if architecture != RELEASED:
        pytest.skip("few features tell clips apart less well")
    similarity = embeddings @ embeddings.T
    others = similarity[~np.eye(len(similarity), dtype=bool)]
    assert similarity.diagonal().min() > 2 * max(others.max(), 0.2)


def test_a_clip_is_most_like_itself_a_little_changed(embed, embeddings, clips):
    darker = np.asarray(embed((clips * 0.95).astype(np.uint8)))
    assert (np.argmax(darker @ embeddings.T, axis=1) == np.arange(len(clips))).all()


def test_each_channel_is_normalised_over_the_clips(encoder, clips):
    """The channels of conv1 have mean 1 and standard deviation 1 before the ReLU."""
    conv1 = encoder.params["video"]["conv1"]
    y = convolve(prepare_clips(clips) / np.float32(255), conv1["kernel"], "separable") + conv1["bias"]
    np.testing.assert_allclose(y.mean((0, 1, 2, 3)), 1, atol=1e-3)  # float32 sums of 6000 terms
    np.testing.assert_allclose(y.std((0, 1, 2, 3)), 1, atol=1e-3)


def test_same_key_same_weights_and_other_key_other_weights(encoder, architecture, clips):
    same, other = (random_encoder(jax.random.key(seed), clips, architecture=architecture) for seed in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, encoder.params, same.params)
    kernels = [e.params["video"]["mixed_5b"]["pointwise"]["kernel"] for e in (same, other)]
    assert np.corrcoef(*map(np.ravel, kernels))[0, 1] < 0.1


def test_it_says_where_it_is_from_and_has_no_text(encoder, architecture):
    assert encoder.provenance == "random(seed=0)" and encoder.tokenizer is None
    assert set(encoder.params) == {"video"} and encoder.network == S3D(architecture)


@pytest.mark.parametrize("pixel_scale", [1e38, float("nan")])
def test_pixel_scale_that_overflows_is_refused(pixel_scale, clips):
    with pytest.raises(ValueError, match="not finite with pixel_scale="):
        random_encoder(jax.random.key(0), clips, pixel_scale=pixel_scale, architecture=tiny.RANDOM)


def test_clips_that_are_all_alike_are_refused(clips):
    with pytest.raises(ValueError, match="show different things"):
        random_encoder(jax.random.key(0), np.repeat(clips[:1], 6, axis=0), architecture=tiny.RANDOM)
