"""PPO on a toy: a point mass must reach a goal, and is rewarded only at the end of the episode, as in RoboCLIP.

The best possible reward is 0 on average. The reward is the negative distance to the goal plus the goal's first
coordinate, which has mean 0 and which no action can change: the critic must learn it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.ppo import PPOConfig, init_state, make_batch, update
from tests.point_mass import T, run_episodes

N, ITERATIONS, SEEDS = 64, 60, 3
CONFIG = PPOConfig(n_epochs=8, batch_size=128, learning_rate=3e-3)


def episode(params, key):
    """Returns the rollout of all environments, and the reward, which is 0 before the last step."""
    rollout, _, goal, distance = run_episodes(params, key, N)
    return rollout, jnp.zeros((T, N)).at[-1].set(goal[:, 0] - distance)


def train(key, config):
    key_init, key_train = jax.random.split(key)

    def iteration(state, key):
        key_episode, key_shuffle = jax.random.split(key)
        rollout, reward = episode(state.params, key_episode)
        state, metrics = update(state, make_batch(rollout, reward, config), key_shuffle, config)
        return state, {**metrics, "return": jnp.mean(jnp.sum(reward, axis=0))}

    return jax.lax.scan(iteration, init_state(key_init, 5, 2, config), jax.random.split(key_train, ITERATIONS))[1]


@pytest.fixture(scope="module")
def curves():
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return jax.jit(jax.vmap(functools.partial(train, config=CONFIG)))(keys)


def test_every_seed_learns_to_reach_the_goal(curves):
    assert np.all(curves["return"][:, :3].mean(axis=1) < -0.6)  # a random walk ends about 0.8 m away
    assert np.all(curves["return"][:, -5:].mean(axis=1) > -0.2), curves["return"][:, -5:]


def test_the_critic_learns_the_return_and_the_policy_narrows(curves):
    assert np.all(curves["explained_variance"][:, -5:].mean(axis=1) > 0.8)
    assert np.all(curves["std"][:, -1] < 0.5 * curves["std"][:, 0])
