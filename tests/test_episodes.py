"""Episodes of an iteration, moved and embedded by a few operations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.episodes import see_episodes, train_mode
from rcjax.world import build_world
from tests.conftest import make_program

pytestmark = pytest.mark.usefixtures("motion")


@pytest.mark.slow
def test_an_episode_does_not_depend_on_the_batch_it_is_in(tiny_config, tiny_encoder):
    """All chance comes from the iteration's key and the environment's id: what makes sharding harmless.

    Oracle: the iteration's own episodes of environments 2 and 3, run again without 0 and 1. That MJX does not mix the
    environments of a batch is tested in tests/envs/test_physics.py.
    """
    world = build_world(tiny_config)
    program = make_program(tiny_config, world, tiny_encoder)
    state, inputs = program.initial_state(), program.inputs
    _, key_episodes, *_ = jax.random.split(state.key[0], 4)
    score = functools.partial(
        see_episodes, env=world.env, network=tiny_encoder.network, config=tiny_config, micro_batch=2
    )
    half = jax.jit(score)(state.ppo.params, inputs, train_mode(tiny_config), key_episodes[None], jnp.array([2, 3]))
    whole = program.step(state)[2].episodes
    for name in ("obs", "action", "value"):
        of_all, of_two = (np.asarray(getattr(each.rollout, name)) for each in (whole, half.episodes))
        np.testing.assert_allclose(of_all[0, :, 2:], of_two[0], atol=1e-5, err_msg=name)
