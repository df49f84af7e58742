"""Scaled rewards against Stable-Baselines3's definition, and against `VecNormalize` itself (marked `parity`)."""

import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.ppo.reward_scale import no_statistics, scale_rewards

GAMMA, T, N = 0.9, 7, 3
FLOAT32 = 1e-5  # relative, after sums over some tens of returns


def episodes(seed):
    """Rewards [T N] of growing size, and where an episode terminates."""
    rng = np.random.default_rng(seed)
    terminated = np.zeros((T, N), bool)
    terminated[3, 1] = True
    return rng.normal(2.0, 10.0 ** (seed - 1), (T, N)), terminated


def defined(rewards, gamma):
    """Returns scaled rewards in float64, from all returns so far and a ten-thousandth of one with variance 1."""
    scaled, weights, returns = [], [1e-4], [0.0]
    extra = 1e-4  # the first, imaginary return has variance 1
    for reward, terminated in rewards:
        running = np.zeros(N)
        for t in range(T):
            running = gamma * running + reward[t]
            weights += [1.0] * N
            returns += running.tolist()
            mean = np.average(returns, weights=weights)
            variance = (np.sum(weights * (np.array(returns) - mean) ** 2) + extra) / np.sum(weights)
            scaled.append(np.clip(reward[t] / np.sqrt(variance + 1e-8), -10, 10))
            running[terminated[t]] = 0.0
    return np.array(scaled)


def ours(rewards, gamma):
    statistics, scaled = no_statistics(), []
    for reward, terminated in rewards:
        statistics, out = scale_rewards(statistics, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), gamma)
        scaled.append(out)
    return np.concatenate(scaled)


def test_rewards_are_divided_by_the_deviation_of_returns():
    rewards = [episodes(seed) for seed in range(3)]
    np.testing.assert_allclose(ours(rewards, GAMMA), defined(rewards, GAMMA), rtol=FLOAT32)


def test_outliers_are_clipped():
    reward = np.full((T, N), 1e-3)
    reward[-1] = 1e6
    scaled = ours([(np.full((T, N), 1e-3), np.zeros((T, N), bool))] * 50 + [(reward, np.zeros((T, N), bool))], GAMMA)
    assert scaled.max() == 10.0


@pytest.mark.parity
def test_agrees_with_vec_normalize():
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    gymnasium = pytest.importorskip("gymnasium")
    rewards = [episodes(seed) for seed in range(3)]
    for reward, terminated in rewards:
        terminated[:] = False  # the environments of VecNormalize would be reset, and so out of step
        terminated[-1] = True
        del reward

    class Tape(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

        def __init__(self, index):
            self.rewards = iter(np.concatenate([reward[:, index] for reward, _ in rewards]).tolist())
            self.count = 0

        def reset(self, **_):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.count += 1
            return np.zeros(1, np.float32), next(self.rewards), self.count % T == 0, False, {}

    envs = vec_env.DummyVecEnv([lambda i=i: Tape(i) for i in range(N)])
    normalized = vec_env.VecNormalize(envs, norm_obs=False, gamma=GAMMA)
    normalized.reset()
    expected = np.stack([normalized.step(np.zeros((N, 1)))[1] for _ in range(3 * T)])
    np.testing.assert_allclose(ours(rewards, GAMMA), expected, rtol=FLOAT32)
