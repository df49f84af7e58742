"""The form of S3D's first layers that is for TPUs, beside the layers themselves."""

import jax
import numpy as np
import pytest

from rcjax.encoders.s3d import embed_video, space_to_depth, video_intermediates
from rcjax.encoders.s3d.frame_stem import to_blocks
from tests.encoders import tiny


@pytest.mark.parametrize(("size", "n_frames"), [(32, 2), (34, 8), (44, 4)])
def test_blocks_are_embedded_as_frames_are(size, n_frames):
    """34 pixels end in half a block; 44 pixels in a whole one, whose pooled cells are odd."""
    params = tiny.random_params()
    frames = np.random.default_rng(0).integers(0, 256, (2, n_frames, size, size, 3), np.uint8)
    expected = embed(params, frames)
    got = embed(params, to_blocks(space_to_depth(frames)), size)
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_what_is_beyond_the_frame_is_seen_where_the_size_is_not_told_rightly():
    """So the size is not idle: with 36 pixels instead of 34, the last cells are computed and pooled."""
    params = tiny.random_params()
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 34, 34, 3), np.uint8)
    blocks = to_blocks(space_to_depth(frames))
    assert np.abs(embed(params, blocks, 36) - embed(params, blocks, 34)).max() > 1e-3


@pytest.mark.parametrize("size", [None, 32, 40])
def test_blocks_without_their_frames_size_are_refused(size):
    blocks = np.zeros((1, 2, 9, 9, 96), np.uint8)
    with pytest.raises(ValueError, match="need the side of the frames in pixels"):
        embed_video(tiny.random_params(), blocks, size=size)


def test_what_does_not_know_the_frames_size_refuses_blocks():
    """Calibration and the layers' outputs take frames, or S3D's own layout."""
    with pytest.raises(ValueError, match="need the side of the frames in pixels"):
        video_intermediates(tiny.random_params(), np.zeros((1, 2, 9, 9, 96), np.uint8))


def embed(params, clips, size=None):
    run = jax.jit(
        lambda params, clips: embed_video(params, clips, graph="native", architecture=tiny.ARCHITECTURE, size=size)
    )
    return np.asarray(run(params, clips))
