"""Fixtures that the tests of this folder share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.encoders.s3d import params_from_torch, video_intermediates
from tests.encoders.s3d import synthetic


@pytest.fixture(scope="session")
def state():
    """The synthetic model in the released layout."""
    return synthetic.calibrated_state()


@pytest.fixture(scope="session")
def params(state):
    return jax.tree.map(jnp.asarray, params_from_torch(state))


@pytest.fixture(scope="session")
def recorded():
    """The outputs of the PyTorch reference for the synthetic model, see tests/generators/s3d.py."""
    with np.load(synthetic.RECORDED) as file:
        return dict(file)


@pytest.fixture(scope="session")
def clips():
    """The clips whose layers and embeddings are in `recorded`."""
    return jnp.asarray(synthetic.structured_clips(2, *synthetic.CLIP_SHAPE, seed=1))


@pytest.fixture(scope="session", params=["separable", "native"])
def intermediates(request, params, clips):
    """The output of every layer for `clips`, through each graph."""
    return jax.jit(functools.partial(video_intermediates, graph=request.param))(params, clips)
