"""Oracles: surrogates computed by hand, NumPy, and the losses and gradients of Stable-Baselines3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from rcjax.ppo import clip_gradients, explained_variance, make_batch, ppo_loss
from rcjax.ppo.losses import clipped_surrogate_loss, normalize, value_loss
from rcjax.types import Rollout

ROUNDING = 1e-6


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # already more likely than the clip allows: no gradient
        (0.5, 2.0, -1.0, -2.0),
        (1.5, -2.0, 3.0, 2.0),  # a bad action became more likely: the full gradient
        (0.5, -2.0, 1.6, 0.0),
    ],
)
def test_surrogate_by_hand(ratio, advantage, loss, gradient):
    def surrogate(ratio):
        return clipped_surrogate_loss(ratio[None], jnp.array([advantage]), 0.2)

    value, slope = jax.value_and_grad(surrogate)(jnp.array(ratio))
    np.testing.assert_allclose((value, slope), (loss, gradient), atol=ROUNDING)


@pytest.mark.parametrize(("clip_range_vf", "loss"), [(None, 4.0), (0.5, 6.25), (5.0, 4.0)])
def test_value_loss_by_hand(clip_range_vf, loss):
    value, old_value, returns = jnp.array([1.0]), jnp.array([0.0]), jnp.array([3.0])
    np.testing.assert_allclose(value_loss(value, old_value, returns, clip_range_vf), loss, atol=ROUNDING)


def test_normalised_advantages_have_unbiased_deviation_1():
    advantage = jnp.array([1.0, 2.0, 6.0])
    expected = (np.array([1.0, 2.0, 6.0]) - 3.0) / np.sqrt(7.0)
    np.testing.assert_allclose(normalize(advantage), expected, atol=ROUNDING)
    np.testing.assert_array_equal(normalize(jnp.array([4.0])), [4.0])


def test_explained_variance():
    returns = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(explained_variance(returns, returns), 1.0)
    np.testing.assert_allclose(explained_variance(jnp.zeros(3), returns), 0.0, atol=ROUNDING)
    np.testing.assert_allclose(explained_variance(-returns, returns), -3.0, atol=10 * ROUNDING)
    assert np.isnan(explained_variance(returns, jnp.ones(3)))


def first_minibatch(config, record):
    names = ("obs", "action", "log_prob", "value", "terminated", "final_value")
    rollout = Rollout(**{name: jnp.asarray(record[f"rollout/{name}"]) for name in names})
    batch = make_batch(rollout, jnp.asarray(record["rollout/reward"]), config)
    return jax.tree.map(lambda x: x[record["order"][0, : config.batch_size]], batch)


def parameters(record, prefix):
    flat = {k.removeprefix(f"{prefix}/"): jnp.asarray(v) for k, v in record.items() if k.startswith(f"{prefix}/")}
    return unflatten_dict(flat, sep="/")


def test_first_gradient_agrees_with_stable_baselines3(sb3):
    config, record = sb3
    minibatch = first_minibatch(config, record)
    gradient_of_loss = jax.jit(jax.grad(ppo_loss, has_aux=True), static_argnums=2)
    gradient, _ = gradient_of_loss(parameters(record, "before"), minibatch, config)
    ours = flatten_dict(clip_gradients(gradient, config.max_grad_norm)[0], sep="/")
    theirs = flatten_dict(parameters(record, "gradient"), sep="/")
    assert ours.keys() == theirs.keys()
    for name in ours:
        scale = np.abs(theirs[name]).max()  # float32 sums over the minibatch: relative to the largest
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-6 * scale, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("sb3", [("one_step", "recorded")], indirect=True)  # more steps: test_ppo_update
def test_losses_agree_with_stable_baselines3(sb3):
    config, record = sb3
    evaluate = jax.jit(ppo_loss, static_argnums=2)
    loss, metrics = evaluate(parameters(record, "before"), first_minibatch(config, record), config)
    assert loss == metrics["loss"]
    for name, value in metrics.items():
        np.testing.assert_allclose(value, record[f"metric/{name}"], rtol=1e-5, atol=1e-6, err_msg=name)
