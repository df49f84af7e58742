"""Runs that begin with another run's policies, with a few operations instead of physics."""

import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest

from rcjax import train
from rcjax.checkpoints import checkpoints_path, read_checkpoint
from rcjax.config import finetuning, from_json, to_json
from rcjax.evaluate import evaluate_run
from rcjax.finetuning import load_pretrained
from rcjax.rewards.config import CloningConfig
from rcjax.storage import RunFolder
from tests import toy
from tests.conftest import rows_of

KINDS = ("release", "sound")


@pytest.fixture(scope="module", autouse=True)
def toys():
    with toy.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "policy_video", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, tiny_config):
    """A run of two seeds on the discriminator's reward, evaluated after its second and fourth iterations."""
    path = tmp_path_factory.mktemp("runs") / "pretrained"
    train.start(dataclasses.replace(tiny_config, reward="gail", seeds=2), path, log=lambda _: None)
    return path


def finetuned_config(pretrained, kind, **changes):
    config = finetuning(RunFolder.open(pretrained).config, str(pretrained), kind)
    ppo = dataclasses.replace(config.ppo, critic_warmup=2 if kind == "sound" else 0)
    return dataclasses.replace(config, **{"reward": "dense", "ppo": ppo, **changes})


@pytest.fixture(scope="module", params=[pytest.param("release", marks=pytest.mark.slow), "sound"])
def finetuned(request, pretrained, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / request.param
    train.start(finetuned_config(pretrained, request.param), path, log=lambda _: None)
    return path


def test_the_first_row_is_the_pretrained_policy(pretrained, finetuned):
    """Oracle: the pretrained run's own evaluation of its last policy, to the last bit."""
    theirs, ours = rows_of(pretrained)[-2:], rows_of(finetuned)[:2]
    for old, new, seed in zip(theirs, ours, (0, 1), strict=True):
        assert (new["iteration"], new["env_steps"], new["seed"], new["true_return"]) == (0, 0, seed, None)
        for name in ("eval_true_return", "eval_success_rate"):
            assert new[name] == old[name]
        assert new["eval_dense_reward"] == new["eval_true_return"]
    assert [row["iteration"] for row in rows_of(finetuned)[2::2]] == [1, 2, 3, 4]
    assert (finetuned / "curve.png").exists()


def test_the_critic_warms_up_while_the_policy_stays(finetuned):
    """With `sound`, the policy's mean after two iterations of warming up is the pretrained one's to the last bit."""
    rows = rows_of(finetuned)
    first, second = rows[0], rows[4]
    assert (second["iteration"], second["seed"]) == (2, 0)
    unchanged = first["eval_true_return"] == second["eval_true_return"]
    assert unchanged == (finetuned.name == "sound")


def arrays_at_start(config, tmp_path):
    """Returns the state that a run begins with, of which a checkpoint is kept as it stops after its first iteration."""
    original = train.Program.step

    def step_and_interrupt(self, state):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(train.Stopped):
        patch.setattr(train.Program, "step", step_and_interrupt)
        train.start(config, tmp_path / "run", log=lambda _: None)
    return read_checkpoint(checkpoints_path(RunFolder.open(tmp_path / "run")) / "0")


def subtree(arrays, prefix):
    return {name: array for name, array in arrays.items() if name.startswith(prefix)}


@pytest.mark.parametrize("kind", [pytest.param("release", marks=pytest.mark.slow), "sound"])
def test_what_is_kept_and_what_begins_anew(pretrained, kind, tmp_path):
    last = read_checkpoint(checkpoints_path(RunFolder.open(pretrained)) / "4")
    start = arrays_at_start(finetuned_config(pretrained, kind), tmp_path)
    for name, array in subtree(last, ".ppo.params").items():
        kept = kind == "release" or "['critic']['out']" not in name
        if "log_std" in name and kind == "sound":
            array = np.minimum(array, 0.0)
        assert np.array_equal(start[name], array) == kept, name
    moments = subtree(start, ".ppo.opt_state")
    assert moments.keys() == subtree(last, ".ppo.opt_state").keys()
    for name, array in moments.items():
        np.testing.assert_array_equal(array, last[name] if kind == "release" else np.zeros_like(array))


def test_stopped_and_resumed_it_gives_the_same_metrics(pretrained, finetuned, tmp_path, monkeypatch):
    """Oracle: the uninterrupted run. It is stopped before its first checkpoint but that of the beginning."""
    config, original = from_json((finetuned / "config.json").read_text()), train.Program.step
    moved = tmp_path / "moved"

    class Killed(Exception):
        pass

    def kill(self, state):
        raise Killed

    monkeypatch.setattr(train.Program, "step", kill)
    with pytest.raises(Killed):
        train.start(config, tmp_path / "run", log=lambda _: None)
    assert [row["iteration"] for row in rows_of(tmp_path / "run")] == [0, 0]
    monkeypatch.setattr(train.Program, "step", original)
    pretrained.rename(moved)  # it is not needed any more
    try:
        train.resume(tmp_path / "run", log=lambda _: None)
    finally:
        moved.rename(pretrained)
    assert rows_of(tmp_path / "run") == rows_of(finetuned)


@pytest.mark.parametrize("which", ["best", "reward", "plateau"])
def test_a_selected_policy_is_one_that_was_evaluated(pretrained, which):
    config = finetuned_config(pretrained, "release", init_which=which)
    last = read_checkpoint(checkpoints_path(RunFolder.open(pretrained)) / "4")
    got = load_pretrained(config, print)
    assert got.keys() == subtree(last, ".ppo.params").keys()
    by_iteration = {i: read_checkpoint(checkpoints_path(RunFolder.open(pretrained)) / str(i)) for i in (2, 4)}
    for name, array in got.items():
        for seed, iteration in enumerate(last[f".selected.{which}.iteration"].tolist()):
            np.testing.assert_array_equal(array[seed], by_iteration[iteration][name][seed])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": {"task": "door-open"}}, "was trained with --task drawer-close, not door-open"),
        ({"env": {"time_in_obs": False}}, "--time-in-obs True, not False"),
        ({"env": {"goal_hidden": False}}, "--goal-hidden True, not False"),
        ({"ppo": {"net_arch": (32,)}}, r"--net-arch \(64, 64\), not \(32,\)"),
        ({"seeds": 1}, r"--seed and --seeds \(0, 2\), not \(0, 1\)"),
        ({"init_from": "nowhere"}, "nowhere is not a run"),
    ],
)
def test_policies_that_do_not_fit_are_refused(pretrained, tmp_path, changes, message):
    config = finetuned_config(pretrained, "release")
    for name, value in changes.items():
        changed = dataclasses.replace(getattr(config, name), **value) if isinstance(value, dict) else value
        config = dataclasses.replace(config, **{name: changed})
    with pytest.raises(ValueError, match=message):
        train.start(config, tmp_path / "run", log=lambda _: None)
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_policy_is_refused(pretrained, tmp_path):
    copy = shutil.copytree(pretrained, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(ValueError, match="has no checkpoint, so no policy"):
        load_pretrained(finetuned_config(copy, "sound"), print)


def test_a_policy_of_edited_sizes_is_refused_in_one_line(pretrained, tmp_path):
    """Its config says 32 and 64 units, but its checkpoint has other layers."""
    copy = shutil.copytree(pretrained, tmp_path / "copy")
    narrow = dataclasses.replace(from_json((copy / "config.json").read_text()).ppo, net_arch=(32, 64))
    config = finetuned_config(copy, "release", ppo=narrow)
    edited = dataclasses.replace(from_json((copy / "config.json").read_text()), ppo=narrow)
    (copy / "config.json").write_text(to_json(edited))
    with pytest.raises(ValueError, match=r"of shape \(2, .*64.*\), expected \(2, .*32.*\); use another run"):
        train.start(config, tmp_path / "run", log=lambda _: None)


@pytest.mark.slow
def test_cloning_begins_with_the_pretrained_policy_too(pretrained, tmp_path):
    """Its first row has no loss yet, and its curve is drawn all the same."""
    cloning = CloningConfig(bc_batch_size=16, bc_kl_weight=0.1)
    config = finetuned_config(pretrained, "release", reward="bc", cloning=cloning)
    train.start(config, tmp_path / "run", log=lambda _: None)
    rows = rows_of(tmp_path / "run")
    assert rows[0]["eval_true_return"] == rows_of(pretrained)[-2]["eval_true_return"]
    assert "bc_loss" not in rows[0] and rows[2]["bc_kl"] >= 0 and (tmp_path / "run" / "curve.png").exists()
    for which in ("reward", "plateau"):
        with pytest.raises(ValueError, match="has no reward by which"):
            evaluate_run(RunFolder.open(tmp_path / "run"), which)


def test_sound_changes_only_how_it_learns(tiny_config):
    config = finetuning(tiny_config, "/runs/a", "sound")
    kept = dataclasses.replace(config, ppo=tiny_config.ppo, init_from=None, finetune="release")
    assert kept == tiny_config
    assert from_json(to_json(config)) == config
    assert finetuning(tiny_config, "/runs/a", "release") == dataclasses.replace(tiny_config, init_from="/runs/a")
