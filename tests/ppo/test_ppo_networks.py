"""Oracles: the normal distribution of SciPy, the definition of orthogonality, matrix products in NumPy."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rcjax.ppo import PPOConfig, entropy, init_params, log_prob, policy_value, sample_action

CONFIG = PPOConfig(net_arch=(32, 16), log_std_init=-0.3)


@pytest.fixture(scope="module")
def params():
    return init_params(jax.random.key(0), 7, 3, CONFIG)


def test_separate_networks_of_the_given_widths(params):
    shapes = jax.tree.map(jnp.shape, params)
    layers = {"hidden_0": (7, 32), "hidden_1": (32, 16)}
    for name, out in (("actor", 3), ("critic", 1)):
        expected = {**layers, "out": (16, out)}
        assert {layer: shape["kernel"] for layer, shape in shapes[name].items()} == expected
    np.testing.assert_array_equal(params["log_std"], np.full(3, -0.3, np.float32))


@pytest.mark.parametrize(
    ("network", "layer", "gain"),
    [
        ("actor", "hidden_0", 2**0.5),
        ("critic", "hidden_1", 2**0.5),
        ("actor", "out", 0.01),
        ("critic", "out", 1.0),
    ],
)
def test_weights_are_orthogonal_with_their_gain_and_biases_zero(params, network, layer, gain):
    kernel, bias = params[network][layer]["kernel"], params[network][layer]["bias"]
    singular_values = np.linalg.svd(kernel, compute_uv=False)
    np.testing.assert_allclose(singular_values, gain, rtol=1e-5)  # float32 QR
    assert not np.any(bias)


def test_seeds_are_initialised_one_by_one():
    """Batched QR decompositions can wait for each other forever (jaxlib 0.10 on two cores)."""
    keys = jax.random.split(jax.random.key(0), 5)
    initialise = functools.partial(init_params, obs_size=7, action_size=3, config=CONFIG)
    together = jax.vmap(initialise)(keys)
    for i, key in enumerate(keys):
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], together), initialise(key))
    program = jax.jit(jax.vmap(initialise)).lower(keys).as_text()
    factorised = re.findall(r"custom_call @lapack_sgeqrf_ffi.*?: \(tensor<([\dx]+)xf32>", program)
    assert factorised and all(shape.count("x") == 1 for shape in factorised), factorised


def test_policy_value_is_two_tanh_networks(params):
    obs = np.random.default_rng(0).normal(size=(4, 5, 7)).astype(np.float32)

    def forward(layers):
        x = obs
        for name in ("hidden_0", "hidden_1"):
            x = np.tanh(x @ np.asarray(layers[name]["kernel"]) + np.asarray(layers[name]["bias"]))
        return x @ np.asarray(layers["out"]["kernel"]) + np.asarray(layers["out"]["bias"])

    mean, log_std, value = policy_value(params, jnp.asarray(obs))
    assert mean.shape == (4, 5, 3) and log_std.shape == (3,) and value.shape == (4, 5)
    np.testing.assert_allclose(mean, forward(params["actor"]), atol=1e-5)  # float32 sums of 32 terms
    np.testing.assert_allclose(value, forward(params["critic"])[..., 0], atol=1e-5)


def test_policy_value_vmaps_over_seeds(params):
    obs = jnp.ones((2, 7))
    seeds = [jax.tree.map(lambda x, scale=scale: scale * x, params) for scale in (1.0, 0.5, 2.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    value = jax.vmap(policy_value, in_axes=(0, None))(stacked, obs)[2]
    np.testing.assert_allclose(value, np.stack([policy_value(p, obs)[2] for p in seeds]), atol=1e-6)  # sum order
    assert len(np.unique(value[:, 0])) == 3


def test_log_prob_and_entropy_are_those_of_independent_normals():
    rng = np.random.default_rng(1)
    action, mean = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32)
    log_std = jnp.array([-1.0, 0.0, 0.7])
    normal = scipy.stats.norm(mean, np.exp(log_std))
    np.testing.assert_allclose(log_prob(action, mean, log_std), normal.logpdf(action).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(entropy(log_std), normal.entropy()[0].sum(), rtol=1e-6)  # float32 rounding


def test_sampled_actions_have_the_mean_and_width_of_the_policy():
    mean, log_std = jnp.array([5.0, -2.0]), jnp.array([-1.0, 1.0])  # far outside [-1, 1]: nothing is clipped
    n = 20_000
    action = sample_action(jax.random.key(2), jnp.broadcast_to(mean, (n, 2)), log_std)
    standard_error = np.exp(log_std) / n**0.5
    assert np.all(np.abs(action.mean(0) - mean) < 5 * standard_error)
    np.testing.assert_allclose(action.std(0), np.exp(log_std), rtol=5 / (2 * n) ** 0.5)  # 5 standard errors


def test_a_network_without_hidden_layers_is_linear():
    params = init_params(jax.random.key(0), 7, 3, PPOConfig(net_arch=()))
    mean, _, value = policy_value(params, jnp.ones((2, 7)))
    assert mean.shape == (2, 3) and value.shape == (2,)
