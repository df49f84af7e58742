"""Parameters that every test of this folder shares."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.s3d import params_from_torch, video_intermediates
from tests.s3d import synthetic


@pytest.fixture(scope="session")
def state():
    """The synthetic model in the released layout."""
    return synthetic.calibrated_state()


@pytest.fixture(scope="session")
def params(state):
    return jax.tree.map(jnp.asarray, params_from_torch(state))


@pytest.fixture(scope="session")
def recorded():
    """What the PyTorch oracle gave for the synthetic model, see tests/record_s3d.py."""
    with np.load(synthetic.RECORDED) as file:
        return dict(file)


@pytest.fixture(scope="session")
def clips():
    """The clips of which `recorded` has the layers and embeddings."""
    return jnp.asarray(synthetic.structured_clips(2, *synthetic.CLIP_SHAPE, seed=1))


@pytest.fixture(scope="session", params=["cpu", "native"])
def intermediates(request, params, clips):
    """Every layer of `clips`, through each graph."""
    return jax.jit(functools.partial(video_intermediates, graph=request.param))(params, clips)
