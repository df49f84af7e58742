"""Normalised returns, with policies whose returns are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from rcjax import normalization
from rcjax.config import TrainConfig
from rcjax.envs.mjx_env import NoExpertError
from rcjax.ppo import PPOConfig


@pytest.fixture
def returns(monkeypatch, tmp_path):
    """Doing nothing returns 10, and the expert 210, in three starts on average. Counts the policies that are run."""
    monkeypatch.setenv("RCJAX_CACHE", str(tmp_path))
    known = {"nothing": [5.0, 10.0, 15.0], "expert": [200.0, 210.0, 220.0]}
    ran = []

    def run_policy(env, params, policy, rows, steps):
        obs = np.zeros((len(rows), 39))
        name = "nothing" if policy != "expert" and not policy(obs).any() else "expert"
        ran.append(name)
        assert (rows, steps) == ([0, 1, 0], 128)  # three episodes from a bank of two starts
        return SimpleNamespace(reward=np.stack([known[name], np.zeros(3)]))

    monkeypatch.setattr(normalization, "run_policy", run_policy)
    return SimpleNamespace(known=known, ran=ran)


def world(bank=0.0, expert=lambda: "expert"):
    env = SimpleNamespace(
        name="drawer-close", variant="", package="metaworld", num_actions=4, backend="c", expert=expert,
        mj_model=SimpleNamespace(ngeom=3),
    )  # fmt: skip
    return SimpleNamespace(env=env, eval_params=SimpleNamespace(bank=np.full(2, bank), bank_size=2))


CONFIG = TrainConfig(n_envs=3, total_env_steps=3 * 128, ppo=PPOConfig(batch_size=128))


def test_nothing_is_zero_and_the_expert_one(returns):
    got = normalization.normalize_returns(np.array([10.0, 210.0, 110.0, -40.0]), world(), CONFIG)
    np.testing.assert_allclose(got, [0.0, 1.0, 0.5, -0.25])


def test_reference_returns_are_computed_once_for_a_bank(returns):
    for _ in range(2):
        assert normalization.reference_returns(world(), CONFIG) == (10.0, 210.0)
    assert returns.ran == ["nothing", "expert"]
    normalization.reference_returns(world(bank=1.0), CONFIG)
    assert len(returns.ran) == 4


def test_without_an_expert_nothing_is_normalised(returns):
    def none():
        raise NoExpertError

    assert np.isnan(normalization.normalize_returns(np.array([10.0, 210.0]), world(expert=none), CONFIG)).all()
    assert returns.ran == ["nothing"]


def test_a_damaged_cache_is_computed_anew(returns, tmp_path):
    normalization.reference_returns(world(), CONFIG)
    (file,) = (tmp_path / "returns").iterdir()
    file.write_text("{")
    assert normalization.reference_returns(world(), CONFIG) == (10.0, 210.0)
    assert len(returns.ran) == 4


def test_an_expert_that_earns_nothing_gives_no_number(returns):
    returns.known["expert"] = returns.known["nothing"]
    assert np.isnan(normalization.normalize_returns(np.array([10.0]), world(), CONFIG)).all()
