"""Oracles: the sum that defines GAE, in NumPy; limiting cases; the rollout buffer of Stable-Baselines3."""

import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.ppo import gae

T, N = 9, 4
ROUNDING = 1e-5  # float32 sums of up to T terms of order 1


@pytest.fixture
def episode():
    rng = np.random.default_rng(0)
    terminated = np.zeros((T, N), bool)
    terminated[3, 1] = terminated[0, 2] = terminated[5, 2] = terminated[T - 1, 3] = True
    return {
        "reward": jnp.asarray(rng.normal(size=(T, N)), jnp.float32),
        "value": jnp.asarray(rng.normal(size=(T, N)), jnp.float32),
        "terminated": jnp.asarray(terminated),
        "final_value": jnp.asarray(rng.normal(size=N), jnp.float32),
    }


def slow_advantage(gamma, gae_lambda, **episode):
    """Computes A_t as the lambda-weighted mean of k-step advantages, each summed from the rewards."""
    names = ("reward", "value", "terminated", "final_value")
    reward, value, terminated, final_value = (np.asarray(episode[name]) for name in names)
    advantage = np.zeros((T, N))
    for n in range(N):
        for t in range(T):
            ends = [k for k in range(t, T) if terminated[k, n]]
            last = ends[0] if ends else T - 1
            k_step = []
            for k in range(t, last + 1):
                discounted = sum(gamma ** (j - t) * reward[j, n] for j in range(t, k + 1))
                bootstrap = 0.0 if terminated[k, n] else (final_value[n] if k == T - 1 else value[k + 1, n])
                k_step.append(discounted + gamma ** (k - t + 1) * bootstrap - value[t, n])
            weights = [(1 - gae_lambda) * gae_lambda**i for i in range(len(k_step))]
            weights[-1] = gae_lambda ** (len(k_step) - 1)  # all longer estimates equal the last one
            advantage[t, n] = np.dot(weights, k_step)
    return advantage


@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.99, 0.95), (0.8, 0.5), (1.0, 1.0), (0.9, 0.0), (0.0, 0.7)])
def test_is_the_weighted_mean_of_k_step_advantages(episode, gamma, gae_lambda):
    advantage, returns = gae(**episode, gamma=gamma, gae_lambda=gae_lambda)
    expected = slow_advantage(**episode, gamma=gamma, gae_lambda=gae_lambda)
    np.testing.assert_allclose(advantage, expected, atol=ROUNDING)
    np.testing.assert_allclose(returns, expected + episode["value"], atol=ROUNDING)


def test_lambda_0_is_one_step_td(episode):
    advantage, _ = gae(**episode, gamma=0.9, gae_lambda=0.0)
    next_value = np.vstack([episode["value"][1:], episode["final_value"]]) * ~episode["terminated"]
    np.testing.assert_allclose(advantage, episode["reward"] + 0.9 * next_value - episode["value"], atol=ROUNDING)


def test_reward_at_the_last_step_only_reaches_the_first_step_discounted():
    reward = jnp.zeros((T, N)).at[-1].set(2.0)
    _, returns = gae(reward, jnp.zeros((T, N)), jnp.zeros((T, N), bool), jnp.ones(N), 0.9, 1.0)
    np.testing.assert_allclose(returns[0], 0.9 ** (T - 1) * (2.0 + 0.9 * 1.0), rtol=ROUNDING)


def test_time_limit_is_gamma_v_in_the_last_reward_and_a_done(episode):
    at_limit = {**episode, "terminated": jnp.zeros((T, N), bool)}
    done = {
        **episode,
        "reward": episode["reward"].at[-1].add(0.99 * episode["final_value"]),
        "terminated": at_limit["terminated"].at[-1].set(True),
    }
    ours = gae(**at_limit, gamma=0.99, gae_lambda=0.95)
    sb3s = gae(**done, gamma=0.99, gae_lambda=0.95)
    np.testing.assert_allclose(ours, sb3s, atol=ROUNDING)


def test_final_value_counts_only_without_termination(episode):
    def last_advantage(final_value):
        return np.asarray(gae(**{**episode, "final_value": final_value}, gamma=0.9, gae_lambda=0.9)[0][-1])

    change = last_advantage(episode["final_value"] + 1) - last_advantage(episode["final_value"])
    np.testing.assert_allclose(change, [0.9, 0.9, 0.9, 0.0], atol=ROUNDING)


def test_agrees_with_stable_baselines3(sb3):
    config, record = sb3
    names = ("reward", "value", "terminated", "final_value")
    advantage, returns = gae(
        *(jnp.asarray(record[f"rollout/{name}"]) for name in names),
        gamma=config.gamma,
        gae_lambda=config.gae_lambda,
    )
    np.testing.assert_allclose(advantage, record["buffer/advantage"], atol=ROUNDING)
    np.testing.assert_allclose(returns, record["buffer/returns"], atol=ROUNDING)
