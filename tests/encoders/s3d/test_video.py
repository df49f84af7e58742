"""Oracle: recorded outputs of the PyTorch reference (tests/generators/s3d.py)."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.s3d import VIDEO_LAYERS, embed_video, layers, space_to_depth, video
from rcjax.encoders.s3d.video import prepare_clips, scale_pixels
from tests.encoders.refusals import refused
from tests.encoders.s3d import synthetic

# float32 through 40 layers in another order of summation; measured 5e-6. Each mistake below has an error above 1e-2.
PARITY = 1e-4


def relative_error(got, expected) -> float:
    """Returns distance over norm; two clips differ by about half (`test_recorded_embeddings_tell_the_clips_apart`)."""
    return float(np.linalg.norm(np.asarray(got) - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", VIDEO_LAYERS)
def test_layer_matches_pytorch(name, intermediates, recorded):
    got = np.asarray(intermediates[name])
    assert got.shape == tuple(recorded[f"{name}.shape"])
    assert relative_error(got.ravel()[synthetic.sample_positions(got.size)], recorded[f"{name}.sample"]) < PARITY


def test_intermediates_are_in_order(intermediates):
    assert tuple(intermediates) == VIDEO_LAYERS


def test_recorded_embeddings_tell_the_clips_apart(recorded):
    """Otherwise a port that ignores its input would pass."""
    one, other = recorded["video_embedding"]
    assert np.linalg.norm(one - other) > 0.3 * np.linalg.norm(one)


@pytest.fixture(scope="module")
def embed():
    """`embed_video` with all arguments given, so that it is compiled once."""
    return jax.jit(lambda params, clips, pixel_scale: embed_video(params, clips, pixel_scale=pixel_scale))


def test_embedding_matches_pytorch(embed, params, clips, recorded):
    assert relative_error(embed(params, clips, 1 / 255), recorded["video_embedding"]) < PARITY


def test_pixel_scale_changes_the_embedding(embed, params, clips, recorded):
    assert relative_error(embed(params, clips, 1.0), recorded["video_embedding"]) > 0.5


def test_clips_of_either_layout_are_prepared_alike(clips):
    for same in (clips, clips / np.float32(255)):
        prepared = prepare_clips(same)
        assert prepared.dtype == same.dtype  # bfloat16 holds 0 to 255 exactly, but not these over 255
        np.testing.assert_array_equal(prepared, space_to_depth(same))
        np.testing.assert_array_equal(prepare_clips(space_to_depth(same)), prepared)


def test_scaled_kernel_sees_clips_as_the_kernel_sees_scaled_clips(params, clips):
    convolve = jax.jit(functools.partial(layers.convolve, graph="separable"))
    x = prepare_clips(clips).astype(jnp.float32)
    scaled = scale_pixels(params["video"], 1 / 255)
    expected = convolve(x * np.float32(1 / 255), params["video"]["conv1"]["kernel"])
    got = convolve(x, scaled["conv1"]["kernel"])
    np.testing.assert_allclose(got, expected, atol=1e-5)  # float32 sums of 768 products about 1
    chex.assert_trees_all_equal({**scaled, "conv1": 0}, {**params["video"], "conv1": 0})


@pytest.mark.parametrize(("dtype", "scaled"), [(np.uint8, True), (np.float32, False)])
def test_only_uint8_is_scaled(dtype, scaled, params, monkeypatch):
    seen = []
    monkeypatch.setattr(video, "scale_pixels", lambda *args: seen.append(args[1]) or scale_pixels(*args))
    jax.eval_shape(lambda: embed_video(params, jnp.zeros((1, 2, 2, 2, 3), dtype), pixel_scale=0.5))
    assert seen == [0.5] * scaled


def test_bfloat16_points_the_same_way(params, clips, recorded):
    embed = jax.jit(functools.partial(embed_video, dtype=jnp.bfloat16))
    got, expected = embed(params, clips), recorded["video_embedding"]
    assert got.dtype == jnp.float32
    cosine = np.sum(got * expected, -1) / np.linalg.norm(got, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert (cosine > 0.99).all()  # 8 significant bits through 40 layers


@pytest.mark.parametrize("clip_shape", [(2, 2, 2), (4, 2, 6), (2, 34, 2)])
def test_smallest_clips_have_an_embedding(clip_shape, params):
    clips = jax.ShapeDtypeStruct((3, *clip_shape, 3), jnp.uint8)
    assert jax.eval_shape(embed_video, params, clips).shape == (3, 512)


def test_weights_are_no_constants_of_the_program(params, clips):
    assert not [c for c in jax.make_jaxpr(embed_video)(params, clips).consts if np.size(c) > 1]


def shifted_padding(kernel_size):
    return [(k // 2, (k - 1) // 2) for k in kernel_size]


def same_pool(x, window, strides, graph):
    shape = ((1, *window, 1), (1, *strides, 1))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *shape, "SAME")


def channel_first_depth(frames):
    x = space_to_depth(frames)
    return x.reshape(*x.shape[:-1], 8, 3).swapaxes(-1, -2).reshape(x.shape)


@pytest.mark.parametrize(
    ("module", "name", "mistake"),
    [
        (layers, "same_padding", shifted_padding),
        (layers, "max_pool", same_pool),
        (video, "space_to_depth", channel_first_depth),
    ],
    ids=["crop the wrong end", "SAME pools", "channels before pixels"],
)
@pytest.mark.slow
def test_recorded_embeddings_tell_a_wrong_port(module, name, mistake, params, clips, recorded, monkeypatch):
    """The recorded values detect each mistake: its error is over a hundred times what parity allows."""
    monkeypatch.setattr(module, name, mistake)
    got = jax.jit(lambda p, x: embed_video(p, x))(params, clips)
    assert relative_error(got, recorded["video_embedding"]) > 100 * PARITY


def test_space_to_depth_channels():
    """The channel is ((dt * 2 + dh) * 2 + dw) * 3 + c, by the definition."""
    clips = np.random.RandomState(0).randint(0, 256, (2, 4, 6, 8, 3), np.uint8)
    expected = np.empty((2, 2, 3, 4, 24), np.uint8)
    for dt, dh, dw, c in np.ndindex(2, 2, 2, 3):
        expected[..., ((dt * 2 + dh) * 2 + dw) * 3 + c] = clips[:, dt::2, dh::2, dw::2, c]
    np.testing.assert_array_equal(space_to_depth(jnp.asarray(clips)), expected)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 3, 4, 4, 3), jnp.uint8, "odd T=3"),
        ((1, 4, 5, 4, 3), jnp.uint8, "odd H=5"),
        ((1, 4, 4, 7, 3), jnp.uint8, "odd W=7"),
        ((1, 4, 4, 4, 1), jnp.uint8, r"\(1, 4, 4, 4, 1\)"),
        ((1, 0, 4, 4, 3), jnp.uint8, r"not 0"),
        ((4, 4, 4, 3), jnp.uint8, r"\[n T H W 3\]"),
        ((1, 4, 4, 4, 3), jnp.int32, "int32"),
    ],
)
def test_other_clips_are_refused(shape, dtype, message):
    with refused(message):
        embed_video({"video": {}}, jnp.zeros(shape, dtype))


def test_unknown_graph_is_refused(params):
    with refused("'tpu' is not one of 'auto', 'native', 'separable'"):
        embed_video(params, jnp.zeros((1, 2, 2, 2, 3)), graph="tpu")
