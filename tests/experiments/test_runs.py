"""Runs of experiments, with a few operations instead of physics."""

import contextlib
import dataclasses
import itertools
import re

import pytest

from experiments import guidance, runs
from experiments.runs import claim_each, finish_run, is_finished, last_rows
from rcjax import train
from rcjax.config import to_json
from tests import toy


@pytest.fixture(scope="module", autouse=True)
def toys():
    with toy.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "policy_video", lambda *_: None)
        yield


@pytest.mark.slow
def test_a_run_is_finished_once(tiny_config, tmp_path, monkeypatch):
    """It is interrupted after its first iteration, goes on, and is then left as it is."""
    path = tmp_path / "runs" / "one"
    config = dataclasses.replace(tiny_config, reward="dense", total_env_steps=2 * tiny_config.steps_per_iteration)
    step, started = train.Program.step, []

    def step_or_die(self, state):
        started.append(1)
        if len(started) == 2:
            raise KeyboardInterrupt
        return step(self, state)

    monkeypatch.setattr(train.Program, "step", step_or_die)
    with pytest.raises(KeyboardInterrupt):
        finish_run(config, path)
    assert not is_finished(path) and last_rows(path) is None
    run = finish_run(config, path)
    rows = last_rows(path)
    assert rows is not None and [row["iteration"] for row in rows] == [2] and is_finished(path)
    assert (tmp_path / "runs" / "one.log").read_text().count("Success rate") == 1
    steps = len(started)
    assert finish_run(config, path).config == run.config and len(started) == steps


def test_a_folder_that_is_no_run_is_not_finished(tmp_path):
    assert not is_finished(tmp_path / "none")


def test_a_run_of_another_config_is_refused(tiny_config, tmp_path):
    path = tmp_path / "one"
    path.mkdir()
    (path / "config.json").write_text(to_json(tiny_config))
    message = re.escape(f"{path} was made with seeds=1, expected 3; give another folder with --out")
    with pytest.raises(ValueError, match=message):
        finish_run(dataclasses.replace(tiny_config, seeds=3), path)


def test_a_process_takes_the_runs_that_no_other_is_at(tiny_config, tmp_path, monkeypatch):
    """Another process is at run "a", from which "c" begins, until two other runs are done."""
    monkeypatch.setattr(runs, "POLL_S", 0.01)
    named = [("a", tiny_config), ("b", tiny_config), ("c", dataclasses.replace(tiny_config, init_from="runs/a"))]
    named.append(("d", tiny_config))
    taken = []
    with contextlib.ExitStack() as other:
        (first,) = itertools.islice(claim := claim_each(named[:1], tmp_path, "other"), 1)
        other.callback(claim.close)
        for name, _ in claim_each(named, tmp_path, "runs"):
            taken.append(name)
            if len(taken) == 2:
                other.close()
    assert first[0] == "a" and taken == ["b", "d", "a", "c"] and not list(tmp_path.iterdir())


def test_seeds_of_a_setting_share_a_run_unless_their_encoders_differ():
    names, seeds = [], 0
    for setting in guidance.settings():
        runs = list(setting.runs())
        assert len(runs) == (3 if setting.encoder == "random" else 1)
        seeds += sum(config.seeds for _, config in runs)
        names += [name for name, _ in runs]
        for i, (_, config) in enumerate(runs):
            assert config.env.task == setting.task and config.encoder == setting.encoder
            assert config.encoder_seed == config.seed == i
    assert len(names) == len(set(names)) == 1 + 6 + 7 + 21 and seeds == 10 + 18 + 21 + 21


def test_the_environments_own_view_is_the_default(tiny_config, tmp_path):
    """Earlier versions wrote 250 where the default is None now."""
    path = tmp_path / "one"
    path.mkdir()
    (path / "config.json").write_text(to_json(with_view(tiny_config, 250)))
    runs.require_same_config(tiny_config, path)
    with pytest.raises(ValueError, match="was made with video="):
        runs.require_same_config(with_view(tiny_config, 240), path)


def with_view(config, view):
    return dataclasses.replace(config, video=dataclasses.replace(config.video, view=view))
