"""Runs that learn from other rewards than videos: the same loop, seeds, checkpoints and files."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest

from rcjax import evaluate, loop, report, train
from rcjax.evaluate import evaluate_run, replay_demonstration
from rcjax.expert_episodes import expert_transitions
from rcjax.rewards.config import CloningConfig, DiscriminatorConfig
from rcjax.storage import RunFolder
from rcjax.world import build_world
from tests.conftest import rows_of

# Cloning is compiled in the least time of those that learn from the expert; AIRL has everything that a reward can have.
REWARDS = ("bc", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dense", "gail", "airl")))


@pytest.fixture(scope="module", params=REWARDS)
def config(request, tiny_config):
    """Two seeds."""
    discriminator = DiscriminatorConfig(n_disc_updates=2, disc_normalize_output=request.param == "airl")
    cloning = CloningConfig(bc_batch_size=16)
    return dataclasses.replace(tiny_config, reward=request.param, seeds=2, discriminator=discriminator, cloning=cloning)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, config, motion):
    """An uninterrupted run of four iterations."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        for drawing in ("render_frames", "render_clips"):  # nothing is drawn for the reward
            patch.setattr(f"rcjax.embedding.{drawing}", lambda *_: pytest.fail("episodes are drawn"))
        train.start(config, path, log=lambda _: None)
    return path


def test_a_run_leaves_what_its_reward_needs(whole, config):
    files = {file.name for file in whole.iterdir()}
    assert {"config.json", "metrics.jsonl", "curve.png", "policy.mp4", "checkpoints"} <= files
    assert not {"target.npy", "encoder", "demonstration.mp4"} & files
    assert ("expert.npz" in files) == config.uses_expert_episodes
    rows = rows_of(whole)
    assert [(row["iteration"], row["seed"]) for row in rows] == [(i, s) for i in (1, 2, 3, 4) for s in (0, 1)]
    metric = f"{config.reward}_reward"
    assert all(np.isfinite(row[metric]) for row in rows) and "video_reward" not in rows[0]
    assert f"eval_{metric}" in rows[-1]
    assert ("disc_loss" in rows[0]) == (config.reward in ("gail", "airl"))
    assert ("bc_loss" in rows[0]) == ("policy_gradient_loss" not in rows[0]) == (config.reward == "bc")


def test_the_dense_reward_is_the_true_return(whole, config):
    if config.reward != "dense":
        pytest.skip("other rewards are other numbers")
    for row in rows_of(whole):
        assert row["dense_reward"] == pytest.approx(row["true_return"], rel=1e-6)


def test_stopped_and_resumed_it_gives_the_same_metrics(whole, config, tmp_path, monkeypatch, no_videos):
    """Oracle: the uninterrupted run, to the last bit. The discriminator and its buffer are in the checkpoint."""
    original, calls = train.Program.step, []

    def step_and_interrupt(self, state):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, state)

    monkeypatch.setattr(train.Program, "step", step_and_interrupt)
    with pytest.raises(train.Stopped):
        train.start(config, tmp_path / "run", log=lambda _: None)
    train.resume(tmp_path / "run", log=lambda _: None)
    assert rows_of(tmp_path / "run") == rows_of(whole)


def test_an_evaluation_repeats_the_last_one(whole):
    rows = evaluate_run(RunFolder.open(whole), starts="eval").rows
    last = rows_of(whole)[-2:]
    assert rows == [{name: written[name] for name in row} for row, written in zip(rows, last, strict=True)]


def test_policies_are_scored_on_starts_of_their_own(whole, config):
    """Oracle: the bank of the test seeds. A rule scores the policy that it selected, from the iteration it says."""
    run = RunFolder.open(whole)
    scored = evaluate_run(run, "best")
    env = scored.program.world.env
    expected = env.build_reset_bank(range(2000, 2000 + config.env.bank_size))
    for ours, theirs in zip(*map(jax.tree.leaves, (scored.program.world.eval_params.bank, expected)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    evaluations = {seed: {} for seed in (0, 1)}
    for row in rows_of(whole):
        if "eval_true_return" in row:
            evaluations[row["seed"]][row["iteration"]] = row["eval_true_return"]
    best = [max(returns, key=returns.get) for returns in evaluations.values()]
    assert scored.iterations == best


def test_an_evaluation_is_described(whole, config, monkeypatch):
    monkeypatch.setattr(report, "normalize_returns", lambda returns, *_: returns / 100)
    run = RunFolder.open(whole)
    lines = report.describe_evaluation(run, evaluate_run(run), "last").splitlines()
    assert lines[0] == report.plot_title(config)
    assert lines[1].startswith("policy: last (iteration 4 of 4); 4 episodes")
    assert lines[2].split() == ["IQM", "95", "%", "interval", "seed", "0", "seed", "1"]
    assert [line.split()[0] for line in lines[3:]] == [
        "success_rate", "true_return", "normalized_return", f"{config.reward}_reward",
    ]  # fmt: skip


def test_a_demonstration_is_replayed(whole, config, monkeypatch):
    """Oracle: the actions that the environment is given, which do not depend on observations."""
    run, given = RunFolder.open(whole), []
    if not config.uses_expert_episodes:
        with pytest.raises(ValueError, match="there is nothing to replay"):
            replay_demonstration(run)
        return
    original = evaluate.run_policy

    def recording(env, params, policy, rows, steps):
        return original(env, params, lambda obs: given.append(policy(obs)) or given[-1], rows, steps)

    monkeypatch.setattr(evaluate, "run_policy", recording)
    world, row = replay_demonstration(run)
    np.testing.assert_array_equal(np.stack(given)[:, 3], run.demonstration().action[:16])
    assert set(row) == {"eval_true_return", "eval_success_rate"} and world.eval_params.bank_size == 8


@pytest.mark.slow
def test_a_seed_equals_its_single_run(whole, config, tmp_path, no_videos):
    """float32 sums of two seeds' batches are in another order, over four iterations of sixteen steps."""
    alone = dataclasses.replace(config, seeds=1, seed=1)
    train.start(alone, tmp_path / "alone", log=lambda _: None)
    for one, row in zip(rows_of(tmp_path / "alone"), rows_of(whole)[1::2], strict=True):
        for name in (f"{config.reward}_reward", "true_return", "bc_loss" if config.reward == "bc" else "std"):
            assert one[name] == pytest.approx(row[name], rel=2e-3, abs=2e-3)


def test_only_what_learns_has_a_state(config, motion):
    state = loop.state_shapes(config, build_world(config).env)
    assert bool(jax.tree.leaves(state.reward)) == config.uses_expert_episodes
    assert all(leaf.shape[0] == config.seeds for leaf in jax.tree.leaves(state.reward))


def test_a_task_whose_expert_fails_is_refused_before_a_run_is_made(config, tmp_path, monkeypatch):
    """The expert cannot succeed in sixteen steps."""
    if not config.uses_expert_episodes:
        pytest.skip("needs no expert")
    monkeypatch.setattr(train, "expert_transitions", expert_transitions)
    with pytest.raises(
        ValueError,
        match=r"drawer-close succeeds within 16 steps from 0 of 8 different starts, fewer than expert_episodes=1",
    ):
        train.start(config, tmp_path / "run", log=lambda _: None)
    assert not list(tmp_path.iterdir())
