"""Tests defaults against those of Stable-Baselines3, and errors, which name field, value and remedy."""

import dataclasses
import inspect
import math

import pytest

from rcjax.ppo import PPOConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("n_epochs", 0),
        ("batch_size", 0),
        ("batch_size", 1),
        ("gamma", 1.01),
        ("gamma", -0.1),
        ("gae_lambda", 2.0),
        ("clip_range", -0.2),
        ("clip_range_vf", 0.0),
        ("ent_coef", math.inf),
        ("vf_coef", -1.0),
        ("max_grad_norm", 0.0),
        ("target_kl", -0.01),
        ("adam_eps", 0.0),
        ("net_arch", (64, 0)),
        ("log_std_init", math.nan),
        ("log_std_init", 1e3),  # its exponential is infinite in float32
        ("learning_rate", math.inf),
        ("learning_rate", 1e-50),  # 0 in float32
        ("max_grad_norm", 1e40),  # infinite in float32; math.inf says so
        ("net_arch", (64, 10**9)),
    ],
)
def test_refuses_a_bad_value_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}=.*{str(value)[:3] if field != 'net_arch' else '64, '}"):
        PPOConfig(**{field: value})


def test_one_sample_minibatches_need_unnormalised_advantages():
    assert PPOConfig(batch_size=1, normalize_advantage=False).minibatches(3) == (3, 1, 0)


@pytest.mark.parametrize(
    ("batch_size", "n_samples", "expected"),
    [(64, 128, (2, 64, 0)), (64, 150, (2, 64, 22)), (64, 40, (1, 40, 0)), (1024, 1024, (1, 1024, 0))],
)
def test_minibatches_cover_the_batch(batch_size, n_samples, expected):
    n_full, size, remainder = PPOConfig(batch_size=batch_size).minibatches(n_samples)
    assert (n_full, size, remainder) == expected
    assert n_full * size + remainder == n_samples


def test_a_batch_of_one_sample_is_refused():
    with pytest.raises(ValueError, match="holds 1 sample"):
        PPOConfig().minibatches(1)


@pytest.mark.parity
def test_defaults_are_stable_baselines3s():
    sb3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.policies import ActorCriticPolicy

    theirs = {name: p.default for name, p in inspect.signature(sb3.PPO.__init__).parameters.items()}
    theirs["log_std_init"] = inspect.signature(ActorCriticPolicy.__init__).parameters["log_std_init"].default
    ours = dataclasses.asdict(PPOConfig())
    assert ours.pop("net_arch") == (64, 64)  # set inside the constructors of SB3
    assert ours.pop("adam_eps") == 1e-5
    additions = {"scale_rewards": False, "clip_separately": False, "critic_warmup": 0}  # off, as SB3 has none of them
    assert {name: ours.pop(name) for name in additions} == additions
    assert ours == {name: theirs[name] for name in ours}
