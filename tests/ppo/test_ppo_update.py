"""Oracles: `PPO.train` of Stable-Baselines3 on the same buffer and shuffles; identities between settings."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from rcjax.ppo import (
    Batch,
    PPOConfig,
    PPOState,
    clip_gradients,
    init_state,
    learn,
    make_batch,
    new_state,
    optimizer,
    scale_rewards,
    shuffle,
    update,
    update_in_order,
)
from rcjax.ppo.reward_scale import no_statistics
from rcjax.types import Rollout

CONFIG = PPOConfig(n_epochs=3, batch_size=8, net_arch=(8,), learning_rate=1e-2, ent_coef=0.1)
OBS_SIZE, ACTION_SIZE, N_SAMPLES = 4, 2, 24


@pytest.fixture(scope="module")
def state():
    return init_state(jax.random.key(0), OBS_SIZE, ACTION_SIZE, CONFIG)


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return Batch(
        obs=normal(N_SAMPLES, OBS_SIZE),
        action=normal(N_SAMPLES, ACTION_SIZE),
        log_prob=-2.5 + 0.1 * normal(N_SAMPLES),
        value=normal(N_SAMPLES),
        advantage=normal(N_SAMPLES),
        returns=normal(N_SAMPLES),
    )


@pytest.fixture(scope="module")
def jitted():
    return jax.jit(update, static_argnames="config")


def assert_trees_close(ours, theirs, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), ours, theirs)


def test_agrees_with_stable_baselines3(sb3):
    config, record = sb3

    def tree(prefix):
        flat = {k.removeprefix(prefix): jnp.asarray(v) for k, v in record.items() if k.startswith(prefix)}
        return unflatten_dict(flat, sep="/")

    names = ("obs", "action", "log_prob", "value", "terminated", "final_value")
    rollout = Rollout(**{name: jnp.asarray(record[f"rollout/{name}"]) for name in names})
    batch = make_batch(rollout, jnp.asarray(record["rollout/reward"]), config)
    before = tree("before/")
    state = PPOState(params=before, opt_state=optimizer(config).init(before))
    step = jax.jit(update_in_order, static_argnames="config")
    state, metrics = step(state, batch, jnp.asarray(record["order"]), config)

    after = flatten_dict(state.params, sep="/")
    for name, theirs in flatten_dict(tree("after/"), sep="/").items():
        moved = np.abs(theirs - record[f"before/{name}"]).max()
        # Adam divides by the root of the second moment, which amplifies float32 differences in small gradients. The
        # tolerance is 1e-4 of the largest change, plus one rounding of a parameter of order 1.
        np.testing.assert_allclose(after[name], theirs, atol=1e-4 * moved + 1.2e-7, rtol=0, err_msg=name)
    assert metrics["gradient_steps"] == record["gradient_steps"]
    theirs = {k.removeprefix("metric/"): v for k, v in record.items() if k.startswith("metric/")}
    for name in set(theirs) - {
        "learning_rate",
        "clip_range",
        "clip_range_vf",
        "n_updates",
    }:  # settings, counters
        np.testing.assert_allclose(metrics[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("max_norm", "scale"), [(10.0, 1.0), (2.5, 0.5), (float("inf"), 1.0)])
def test_gradients_are_clipped_by_their_global_norm(max_norm, scale):
    clipped, norms = clip_gradients(GRADIENTS, max_norm)
    assert norms == {"grad_norm": 5.0, "actor_grad_norm": 4.0, "critic_grad_norm": 3.0}
    assert_trees_close(clipped, jax.tree.map(lambda g: scale * g, GRADIENTS), rtol=1e-6)  # torch's 1e-6 / norm


GRADIENTS = {"critic": jnp.array([3.0, 0.0]), "actor": jnp.array(4.0), "log_std": jnp.array(0.0)}


def test_gradients_of_actor_and_critic_are_clipped_apart():
    """So that a critic with large gradients leaves the actor's as they are."""
    clipped, _ = clip_gradients(GRADIENTS, 1.5, separately=True)
    assert_trees_close(clipped, {"critic": [1.5, 0.0], "actor": 1.5, "log_std": 0.0}, rtol=1e-6)  # torch's 1e-6 / norm
    large = GRADIENTS | {"critic": jnp.array([300.0, 0.0])}
    assert_trees_close(clip_gradients(large, 5.0, separately=True)[0]["actor"], 4.0, rtol=0)
    assert clip_gradients(large, 5.0)[0]["actor"] < 0.1


def test_the_actor_waits_while_the_critic_warms_up(rollout_and_reward):
    """For two iterations only the critic's parameters change, but Adam's moments of all; then everything does."""
    config = dataclasses.replace(CONFIG, critic_warmup=2)
    state = init_state(jax.random.key(0), 5, 3, config)
    step = jax.jit(learn, static_argnames="config")
    for iteration in range(3):
        before = state
        state, _ = step(state, *rollout_and_reward, jax.random.key(iteration), config)
        for name in ("actor", "critic", "log_std"):
            moved = not all(
                np.array_equal(a, b)
                for a, b in zip(*map(jax.tree.leaves, (before.params[name], state.params[name])), strict=True)
            )
            assert moved == (name == "critic" or iteration == 2), (name, iteration)
        assert all(np.any(x != 0) for x in jax.tree.leaves(state.opt_state[0].nu))
        assert int(state.warmup) == max(1 - iteration, 0)


def test_learning_scales_rewards_if_it_is_asked_to(rollout_and_reward):
    """Oracle: an update by rewards that were scaled before."""
    rollout, reward = rollout_and_reward
    scaling = dataclasses.replace(CONFIG, scale_rewards=True)
    statistics, scaled = scale_rewards(no_statistics(), reward, rollout.terminated, CONFIG.gamma)
    state = init_state(jax.random.key(0), 5, 3, CONFIG)
    expected, _ = learn(state, rollout, scaled, jax.random.key(1), CONFIG)
    got, _ = learn(new_state(state.params, scaling), rollout, reward, jax.random.key(1), scaling)
    assert_trees_close(got.params, expected.params, rtol=1e-5)  # float32
    assert_trees_close(got.returns, statistics, rtol=1e-6)


@pytest.fixture(scope="module")
def rollout_and_reward():
    rng = np.random.default_rng(4)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    rollout = Rollout(
        obs=draw(6, 4, 5), action=draw(6, 4, 3), log_prob=draw(6, 4) - 4, value=draw(6, 4),
        terminated=jnp.zeros((6, 4), bool).at[2, 1].set(True), final_value=draw(4),
    )  # fmt: skip
    return rollout, 100 * draw(6, 4)


def test_shuffle_gives_a_fresh_permutation_per_epoch_and_key():
    orders = np.stack([shuffle(jax.random.key(seed), N_SAMPLES, CONFIG) for seed in range(2)])
    np.testing.assert_array_equal(np.sort(orders, axis=-1), np.broadcast_to(np.arange(24), (2, 3, 24)))
    assert len(np.unique(orders.reshape(6, 24), axis=0)) == 6


def test_one_minibatch_of_everything_is_not_shuffled():
    order = shuffle(jax.random.key(0), N_SAMPLES, dataclasses.replace(CONFIG, batch_size=100))
    np.testing.assert_array_equal(order, np.broadcast_to(np.arange(24), (3, 24)))


def test_a_batch_size_above_the_batch_is_one_step_on_all_samples(state, batch, jitted):
    above, exact = (dataclasses.replace(CONFIG, batch_size=size, n_epochs=1) for size in (100, N_SAMPLES))
    ours, metrics = jitted(state, batch, jax.random.key(0), above)
    assert metrics["gradient_steps"] == 1
    assert_trees_close(ours, jitted(state, batch, jax.random.key(1), exact)[0], rtol=0)


def test_the_key_decides_the_result(state, batch, jitted):
    first, repeated, other = (jitted(state, batch, jax.random.key(seed), CONFIG)[0] for seed in (0, 0, 1))
    assert_trees_close(first, repeated, rtol=0)
    assert not np.allclose(first.params["log_std"], other.params["log_std"], atol=1e-6)


def test_a_target_kl_passed_at_once_leaves_everything_as_it_was(state, batch, jitted):
    """The log_prob in the batch come from another policy, so the KL of the first minibatch is already above 0."""
    stopped, metrics = jitted(state, batch, jax.random.key(0), dataclasses.replace(CONFIG, target_kl=1e-9))
    assert metrics["approx_kl"] > 1e-6 and metrics["gradient_steps"] == 0
    assert_trees_close(stopped, state, rtol=0)


def test_a_target_kl_never_reached_changes_nothing(state, batch, jitted):
    unreachable = dataclasses.replace(CONFIG, target_kl=1e6)
    ours, metrics = jitted(state, batch, jax.random.key(0), unreachable)
    without, expected = jitted(state, batch, jax.random.key(0), CONFIG)
    assert metrics["gradient_steps"] == expected["gradient_steps"] == 9
    # two programs, which XLA may fuse and round differently; Adam amplifies that
    assert_trees_close(ours.params, without.params, atol=1e-5)


def test_vmap_over_seeds_is_each_seed_alone(state, batch, jitted):
    config = dataclasses.replace(CONFIG, batch_size=10, target_kl=0.02)  # the seeds stop at different steps
    keys = jax.random.split(jax.random.key(3), 3)
    params = jax.tree.map(lambda x: jnp.stack([x, 0.9 * x, 1.1 * x]), state.params)
    states = PPOState(params=params, opt_state=jax.vmap(optimizer(config).init)(params))
    batched = jax.jit(jax.vmap(functools.partial(update, config=config), in_axes=(0, None, 0)))
    together, metrics = batched(states, batch, keys)
    for i, key in enumerate(keys):
        alone, expected = jitted(jax.tree.map(lambda x, i=i: x[i], states), batch, key, config)
        assert_trees_close(jax.tree.map(lambda x, i=i: x[i], together.params), alone.params, atol=1e-5)
        assert metrics["gradient_steps"][i] == expected["gradient_steps"]
