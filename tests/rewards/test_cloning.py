"""Behaviour cloning: imitation's loss and gradient, and what keeps the policy near the one that it began with."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from rcjax import ppo
from rcjax.ppo import PPOConfig
from rcjax.rewards import cloning
from rcjax.rewards.cloning import Cloning
from rcjax.rewards.config import CloningConfig
from rcjax.types import Transitions
from tests.generators import cloning as generator
from tests.generators.adversarial import ACTION_SIZE, OBS_SIZE

FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(params=["recorded", pytest.param("live", marks=pytest.mark.parity)])
def imitation(request):
    if request.param == "live":
        pytest.importorskip("imitation")
        return generator.run_imitation()
    with np.load(generator.RECORDED) as file:
        return dict(file)


def subtree(record, prefix):
    flat = {name.removeprefix(prefix): jnp.asarray(x) for name, x in record.items() if name.startswith(prefix)}
    return unflatten_dict(flat, sep="/")


def source_of(**changes):
    config = dataclasses.replace(CloningConfig(bc_batch_size=8, bc_updates=200), **changes)
    return Cloning(
        config=config, policy=PPOConfig(net_arch=(16, 8)), obs_size=OBS_SIZE, action_size=ACTION_SIZE, round_size=12,
        n_expert=16,
    )  # fmt: skip


def expert(record):
    obs, action = jnp.asarray(record["obs"]), jnp.asarray(record["action"])
    return Transitions(obs=obs, action=action, next_obs=obs, done=jnp.zeros(len(obs)))


def test_loss_and_gradient_are_imitations(imitation):
    """Oracle: torch's gradients. imitation's squared norm has the critic too, which cloning here leaves alone."""
    source = source_of(bc_ent_weight=generator.ENT_WEIGHT, bc_l2_weight=generator.L2_WEIGHT)
    trained = cloning._trained(subtree(imitation, "policy/"))
    gradient, metrics = jax.grad(source.loss, has_aux=True)(trained, expert(imitation), None)
    np.testing.assert_allclose(metrics["bc_log_prob"], imitation["log_prob"], **FLOAT32)
    np.testing.assert_allclose(metrics["bc_entropy"], imitation["entropy"], **FLOAT32)
    expected = cloning._trained(subtree(imitation, "gradient/"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **FLOAT32), gradient, expected)


@pytest.fixture
def record():
    with np.load(generator.RECORDED) as file:
        return dict(file)


def episodes(first):
    """Episodes of 3 steps in 4 environments, whose observations are numbers from `first` on."""
    obs = first + jnp.arange(3 * 4 * OBS_SIZE, dtype=jnp.float32).reshape(3, 4, OBS_SIZE) / 100
    return SimpleNamespace(rollout=SimpleNamespace(obs=obs))


def trained_policy(source, record, rounds=1):
    """Returns the policy before and after some iterations, the last metrics and the state."""
    before = ppo.new_state(ppo.init_params(jax.random.key(3), OBS_SIZE, ACTION_SIZE, source.policy), source.policy)
    policy, state = before, source.init_state(jax.random.key(0))

    @jax.jit
    def train(state, policy, first, key):
        return source.train_policy(state, policy, episodes(first), expert(record), key)

    for i in range(rounds):
        state, policy, metrics = train(state, policy, float(i), jax.random.key(i))
    return before, policy, metrics, state


def test_the_actor_learns_the_expert_and_the_critic_stays(record):
    before, after, metrics, _ = trained_policy(source_of(bc_learning_rate=1e-2), record, rounds=5)
    mean, _ = ppo.action_distribution(after.params, expert(record).obs)
    assert float(jnp.mean(jnp.abs(mean - record["action"]))) < 0.1
    jax.tree.map(np.testing.assert_array_equal, before.params["critic"], after.params["critic"])
    jax.tree.map(np.testing.assert_array_equal, before.opt_state, after.opt_state)
    assert "bc_kl" not in metrics


def test_the_kl_divergence_keeps_the_policy_near_the_first_one(record):
    """On the observations of its own first episodes, in later iterations too."""
    near, far = (trained_policy(source_of(bc_kl_weight=w), record, rounds=2) for w in (10.0, 1e-6))
    distances = []
    for before, after, _, state in (near, far):
        obs = state.anchor.obs
        first = episodes(0.0).rollout.obs.reshape(-1, OBS_SIZE)
        np.testing.assert_allclose(obs, first, rtol=1e-6)  # float32
        distances.append(float(cloning._kl_divergence(before.params, after.params, obs)))
        jax.tree.map(np.testing.assert_array_equal, state.anchor.policy, cloning._trained(before.params))
    assert distances[0] < 0.1 * distances[1]


def test_the_kl_divergence_is_the_expected_log_ratio(record):
    """Oracle: a Monte Carlo estimate of E[log old - log new] over the old policy's actions."""
    old, new = ({name: x for name, x in subtree(record, "policy/").items()} for _ in range(2))
    new = {**new, "log_std": new["log_std"] + 0.2, "actor": jax.tree.map(lambda x: 1.1 * x, new["actor"])}
    obs = jnp.asarray(record["obs"])
    mean, log_std = ppo.action_distribution(old, obs)
    action = ppo.sample_action(jax.random.key(0), jnp.broadcast_to(mean, (20_000, *mean.shape)), log_std)
    ratio = ppo.log_prob(action, mean, log_std) - ppo.log_prob(action, *ppo.action_distribution(new, obs))
    # The standard error of 320,000 samples of deviation about 0.4.
    assert float(cloning._kl_divergence(old, new, obs)) == pytest.approx(float(ratio.mean()), abs=3e-3)
    assert float(cloning._kl_divergence(old, old, obs)) == pytest.approx(0.0, abs=1e-6)
