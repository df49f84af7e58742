"""The expert's transitions, and learning from them with the real physics."""

import dataclasses

import jax
import numpy as np
import pytest

from rcjax.envs.mjx_env import EnvState
from rcjax.expert_episodes import _different_starts, expert_transitions
from rcjax.program import Program, as_rows
from rcjax.rewards.config import DiscriminatorConfig
from rcjax.world import build_world


@pytest.fixture(scope="module")
def world(tiny_config):
    return build_world(tiny_config)


@pytest.mark.slow
def test_the_experts_episodes_are_successful_and_whole(tiny_config, world):
    """Oracle: the observations themselves. drawer-close shows its object, the handle, which ends near the goal."""
    video = dataclasses.replace(tiny_config.video, episode_length=128)
    steps = {"total_env_steps": 4 * 128}
    config = dataclasses.replace(tiny_config, reward="gail", expert_episodes=2, video=video, **steps)
    got = expert_transitions(world, config)
    assert got.obs.shape == got.next_obs.shape == (256, 40) and got.action.shape == (256, 4)
    for episode in (slice(0, 128), slice(128, 256)):
        obs, next_obs = got.obs[episode], got.next_obs[episode]
        np.testing.assert_array_equal(obs[1:], next_obs[:-1])
        np.testing.assert_allclose(obs[:, -1], np.arange(128) / 128, atol=1e-6)  # float32
        assert next_obs[-1, -1] == 1.0
        np.testing.assert_array_equal(obs[:, 36:39], 0.0)  # the goal is hidden
        assert next_obs[-1, 5] - obs[0, 5] > 0.05  # m; the handle, pushed along y
        assert got.done[episode].tolist() == [0.0] * 127 + [1.0]
    assert np.abs(got.action).max() <= 1.0
    assert not np.array_equal(got.obs[0], got.obs[128])


def test_a_start_that_differs_by_its_goal_alone_is_another():
    bank = EnvState.of_leaves(
        time=np.zeros(4, int), start=np.arange(4), first_success=np.zeros(4, int),
        physics=np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 2.0], [0.0, 1.0]]), task=np.array([3, 3, 3, 4]),
    )  # fmt: skip
    assert _different_starts(bank).tolist() == [0, 2, 3]


@pytest.mark.slow
def test_equal_starts_give_one_episode(tiny_config):
    """The Kitchen has a single start, from which the expert's episodes are all the same."""
    env = dataclasses.replace(tiny_config.env, task="kitchen-slide", backend="c", bank_size=4)
    video = dataclasses.replace(tiny_config.video, episode_length=128)
    config = dataclasses.replace(tiny_config, reward="gail", env=env, video=video, total_env_steps=4 * 128)
    world = build_world(config)
    assert len(expert_transitions(world, config).done) == 128
    with pytest.raises(ValueError, match="from 1 of 1 different starts, fewer than expert_episodes=2"):
        expert_transitions(world, dataclasses.replace(config, expert_episodes=2))


@pytest.mark.slow
@pytest.mark.parametrize("reward", ["gail", "airl"])
def test_a_discriminator_learns_to_tell_the_expert(tiny_config, world, reward):
    """Its loss falls. GAIL's tells most transitions apart by then; AIRL's logits begin far above 0, with -log pi."""
    video = dataclasses.replace(tiny_config.video, episode_length=128)
    discriminator = DiscriminatorConfig(n_disc_updates=32)
    config = dataclasses.replace(
        tiny_config, reward=reward, video=video, total_env_steps=4 * 4 * 128, discriminator=discriminator
    )
    demonstration = expert_transitions(world, config)
    program = Program(config, world, None, demonstration)
    state, rows = program.initial_state(), []
    for _ in range(4):
        state, metrics, _ = program.step(state)
        rows += as_rows(metrics)
    losses = [row["disc_loss"] for row in rows]
    assert losses[-1] < 0.8 * losses[0], losses
    assert reward == "airl" or rows[-1]["disc_acc"] > 0.9 > rows[0]["disc_acc"]
    assert all(row["nonfinite_update"] == 0 for row in rows)
    assert int(state.reward.buffer.count[0]) == 4 * 128
    assert jax.tree.leaves(state.reward.learner.norms)[0].shape[0] == 1
