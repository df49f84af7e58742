"""S3Ds of other widths and depths. Oracles: a slow NumPy definition of the network (`slow`), and sizes by hand."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.s3d import (
    BLOCK_WIDTHS,
    RELEASED,
    S3D,
    VIDEO_LAYERS,
    Architecture,
    torch_state_spec,
    video_intermediates,
)
from rcjax.encoders.s3d.video import scale_to_norm, stage_pools, video_layers
from tests.encoders import tiny
from tests.encoders.refusals import refused
from tests.encoders.s3d import slow, synthetic

FLOAT32 = 1e-5  # float32 through fifteen layers, relative to the largest number; measured 6e-7
STEM = ("conv1", "maxpool_2a", "conv_2b", "conv_2c", "gating", "maxpool_3a")
CLIP_SHAPE = (12, 40, 36)  # T, H, W; every pool between stages sees an odd size


def of_blocks(*names: str) -> Architecture:
    return Architecture(blocks=tuple((name, BLOCK_WIDTHS[name]) for name in names))


@pytest.mark.parametrize(
    ("architecture", "pools", "layers"),
    [
        (of_blocks("mixed_3b"), {}, ("mixed_3b",)),
        (of_blocks("mixed_4c"), {"mixed_4c": "maxpool_4a"}, ("maxpool_4a", "mixed_4c")),
        (of_blocks("mixed_3b", "mixed_5c"), {"mixed_5c": "maxpool_5a"}, ("mixed_3b", "maxpool_5a", "mixed_5c")),
        (
            of_blocks("mixed_3c", "mixed_4d", "mixed_4f", "mixed_5b", "mixed_5c"),
            {"mixed_4d": "maxpool_4a", "mixed_5b": "maxpool_5a"},
            ("mixed_3c", "maxpool_4a", "mixed_4d", "mixed_4f", "maxpool_5a", "mixed_5b", "mixed_5c"),
        ),
    ],
)
def test_pools_come_before_the_first_block_of_a_stage(architecture, pools, layers):
    assert stage_pools(architecture) == pools
    assert video_layers(architecture) == (*STEM, *layers, "pooled", "embedding")


def test_the_released_model_has_its_own_layers():
    """Their order is that of the PyTorch reference, see test_parity.py."""
    assert video_layers() == video_layers(RELEASED) == VIDEO_LAYERS
    assert stage_pools(RELEASED) == {"mixed_4b": "maxpool_4a", "mixed_5b": "maxpool_5a"}
    assert (RELEASED.features, S3D().embedding_size) == (1024, 512)


@pytest.fixture(scope="module")
def params():
    return tiny.random_params()


@pytest.fixture(scope="module")
def clips():
    return synthetic.structured_clips(2, *CLIP_SHAPE, seed=1)


@pytest.mark.parametrize("graph", ["separable", "native"])
def test_every_layer_of_a_narrow_s3d_is_its_slow_definition(graph, params, clips):
    intermediates = functools.partial(video_intermediates, graph=graph, architecture=tiny.ARCHITECTURE)
    got, expected = jax.jit(intermediates)(params, clips), slow.video_layers(params, clips, tiny.ARCHITECTURE)
    assert tuple(got) == tuple(expected) == video_layers(tiny.ARCHITECTURE)
    for name, layer in expected.items():
        np.testing.assert_allclose(got[name], layer, atol=FLOAT32 * np.abs(layer).max(), err_msg=name)
    one, other = expected["embedding"]
    assert np.linalg.norm(one - other) > 1000 * FLOAT32 * tiny.NORM  # a network that ignored its input would be noticed


@pytest.mark.parametrize("norm", [None, tiny.NORM])
def test_towers_of_a_narrow_encoder_are_their_slow_definitions(norm, params, clips):
    """Through `S3D`, as a run calls them, with and without a norm."""
    network = S3D(dataclasses.replace(tiny.ARCHITECTURE, embedding_norm=norm))
    ids = tiny.TOKENIZER.tokenize(["robot closing green drawer", "the drawer"])
    embed = functools.partial(network.embed_video, dtype=jnp.float32, pixel_scale=1 / 255, graph="auto")
    text, video = jax.jit(network.embed_text)(params, ids), jax.jit(embed)(params, clips)
    expected_text = slow.text_embedding(params, ids, network.architecture)
    np.testing.assert_allclose(text, expected_text, atol=FLOAT32 * np.abs(expected_text).max())
    expected_video = slow.video_layers(params, clips, network.architecture)["embedding"]
    np.testing.assert_allclose(video, expected_video, atol=FLOAT32 * np.abs(expected_video).max())
    if norm is not None:
        np.testing.assert_allclose(np.linalg.norm(np.concatenate([text, video]), axis=1), norm, rtol=1e-6)  # float32


def test_rows_are_scaled_to_the_norm_and_zeros_stay_finite():
    """So do their gradients, in training."""
    rows = jnp.asarray(np.random.RandomState(0).randn(3, 5) * [[1e-3], [1.0], [1e3]], jnp.float32).at[1].set(0)
    got = scale_to_norm(rows, 3.0)
    # 1e-12 is added to the squares, of which the smallest sum is about 5e-6.
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), [3, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(got[0] / rows[0], np.full(5, 3 / np.linalg.norm(rows[0])), rtol=1e-5)  # float32
    assert np.isfinite(jax.grad(lambda x: scale_to_norm(x, 3.0).sum())(rows)).all()
    assert scale_to_norm(rows, None) is rows


def test_parameters_have_the_sizes_that_the_architecture_states():
    """Oracle: sizes by hand, of the blocks `mixed_3c` (16 channels), `mixed_4f` (20) and `mixed_5b` (16)."""
    specs = tiny.NETWORK.param_specs(tiny.TOKENIZER)
    assert set(map(str, {dtype for _, dtype in specs.values()})) == {"float32"}
    expected = {
        "video/conv1/kernel": (2, 4, 4, 24, 4),
        "video/conv_2b/kernel": (1, 1, 1, 4, 6),
        "video/conv_2c/spatial/kernel": (1, 3, 3, 6, 8),
        "video/conv_2c/temporal/kernel": (3, 1, 1, 8, 8),
        "video/gating/fc0/kernel": (8, 8),
        "video/mixed_3c/pointwise/kernel": (1, 1, 1, 8, 4 + 6 + 2),
        "video/mixed_3c/branch2/spatial/kernel": (1, 3, 3, 2, 4),
        "video/mixed_4f/pointwise/kernel": (1, 1, 1, 16, 2 + 4 + 3),
        "video/mixed_4f/branch1/temporal/bias": (6,),
        "video/mixed_5b/branch3/kernel": (1, 1, 1, 20, 4),
        "video/mixed_5b/gating/fc2/kernel": (2, 2),
        "video/fc/kernel": (16, 10),
        "text/word_embd": (7, 6),
        "text/fc1/kernel": (6, 12),
        "text/fc2/bias": (10,),
    }
    assert {name: specs[name][0] for name in expected} == expected
    assert {name.split("/")[1] for name in specs if name.startswith("video/mixed")} == {
        "mixed_3c", "mixed_4f", "mixed_5b"
    }  # fmt: skip
    video_only = tiny.NETWORK.param_specs(None)
    assert video_only == {name: spec for name, spec in specs.items() if name.startswith("video/")}


def test_the_released_model_has_as_many_parameters_as_its_file():
    """Oracle: the names and shapes of the released tensors, without running statistics, which are folded."""
    folded = ("running_mean", "running_var", "num_batches_tracked")
    released = sum(
        int(np.prod(shape))
        for name, (shape, _) in torch_state_spec(len(tiny.TOKENIZER.vocabulary)).items()
        if not name.endswith((*folded, "bn1.weight", "bn2.weight"))
    )
    assert sum(int(np.prod(shape)) for shape, _ in S3D().param_specs(tiny.TOKENIZER).values()) == released


@pytest.mark.parametrize(
    "network", [S3D(), tiny.NETWORK, S3D(of_blocks("mixed_3b"), size=64)], ids=["released", "tiny", ""]
)
def test_json_round_trip(network):
    assert S3D.from_json(json.loads(json.dumps(network.to_json()))) == network
    assert hash(network) == hash(S3D.from_json(network.to_json()))  # programs are kept by it


WIDTHS = (4,) * 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": ()}, "blocks=[] are not some of S3D's blocks"),
        ({"blocks": (("mixed_5b", WIDTHS), ("mixed_3b", WIDTHS))}, "in this order"),
        ({"blocks": (("mixed_3b", WIDTHS), ("mixed_3b", WIDTHS))}, "in this order"),
        ({"blocks": (("mixed_6a", WIDTHS),)}, "'mixed_6a'"),
        ({"blocks": (("mixed_3b", (4, 4, 4)),)}, "six"),
        ({"stem": (4, 4)}, "three widths"),
        ({"stem": (4, 4, 0)}, "a width of S3D=0; it must be at least 1"),
        ({"stem": (4, True, 4)}, "a width of S3D=True; it must be a whole number"),
        ({"hidden_size": 2.5}, "a width of S3D=2.5; it must be a whole number"),
        ({"embedding_size": 10**6}, "it must be at most 16384"),
        ({"embedding_norm": 0.0}, "embedding_norm=0.0; expected a positive number"),
        ({"embedding_norm": -1}, "embedding_norm=-1"),
        ({"embedding_norm": float("nan")}, "embedding_norm=nan"),
        ({"embedding_norm": float("inf")}, "embedding_norm=inf"),
    ],
)
def test_other_architectures_are_refused(changes, message):
    with refused(re.escape(message)):
        dataclasses.replace(tiny.ARCHITECTURE, **changes)


@pytest.mark.parametrize(
    ("network", "clip", "message"),
    [
        (S3D(), (3, 64), "a clip of 3 frames of 64x64 does not fit S3D, which needs an even number of frames"),
        (S3D(), (32, 65), "of 65x65 does not fit S3D"),
        (S3D(), (32, 30), "an even number of frames and an even size of at least 32; change size"),
        (S3D(), (0, 64), "a clip of 0 frames"),
        (tiny.NETWORK, (1, 32), "a clip of 1 frames of 32x32 does not fit S3D, which needs an even number"),
        (tiny.NETWORK, (8, 64), "a clip of 8 frames of 64x64 does not fit this encoder, which was trained on 8 frames"),
        (tiny.NETWORK, (32, 32), "which was trained on 8 frames of 32x32 alone; give --size 32"),
        (
            S3D(size=32),
            (6, 64),
            "a clip of 6 frames of 64x64 does not fit this encoder, which was trained on 6 frames of 32x32",
        ),
        (S3D(n_frames=8), (6, 64), "which was trained on 8 frames of 64x64 alone; give --size 64 and --frames 8"),
    ],
)
def test_clips_that_a_network_does_not_take_are_refused(network, clip, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        network.check_clips(*clip, 1 / 255)
    assert "\n" not in str(error.value)


def test_clips_that_a_network_takes():
    """The released one takes every size and scale; one that was trained on pixels of 0 to 1 alone takes no others."""
    for clip in ((2, 32), (32, 250), (128, 480)):
        S3D().check_clips(*clip, 1.0)
    tiny.NETWORK.check_clips(8, 32, 1 / 255)
    tiny.NETWORK.check_clips(8, 32, float(np.float32(1 / 255)))
    with pytest.raises(ValueError, match=r"pixel_scale=1 does not fit this encoder.* --pixel-scale 0\.0039"):
        tiny.NETWORK.check_clips(8, 32, 1.0)
