"""Runs of experiments, with a few operations instead of physics."""

import contextlib
import dataclasses
import itertools
import json
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
        patch.setattr(train, "policy_video", lambda run, *_: (run.path / "policy.mp4").touch())
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


@pytest.mark.slow
@pytest.mark.parametrize("left", ["video", "checkpoint"])
def test_a_run_that_was_ended_after_its_last_row_goes_on(left, tiny_config, tmp_path, monkeypatch):
    """Its last checkpoint, or its video after that, could not be written."""
    path = tmp_path / "one"
    config = dataclasses.replace(tiny_config, reward="dense", total_env_steps=2 * tiny_config.steps_per_iteration)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if left == "video":
            patch.setattr(train, "policy_video", die)
        else:
            patch.setattr(train.Checkpoints, "save", die)
        with pytest.raises(KeyboardInterrupt):
            finish_run(config, path)
    rows = last_rows(path)
    assert rows is not None and not is_finished(path)
    finish_run(config, path)
    assert is_finished(path) and (path / "policy.mp4").exists() and (path / "checkpoints" / "2").is_dir()
    again = last_rows(path)
    assert again is not None
    assert [row["eval_true_return"] for row in again] == [row["eval_true_return"] for row in rows]


def test_a_run_that_is_kept_without_checkpoints_is_finished_if_it_has_scores(tiny_config, tmp_path):
    (tmp_path / "config.json").write_text(to_json(tiny_config))
    row = {"iteration": tiny_config.n_iterations, "seed": 0, "env_steps": 1, "true_return": 0.0, "success_rate": 0.0}
    row |= {"eval_success_rate": 1.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert last_rows(tmp_path) is not None and not is_finished(tmp_path)
    (tmp_path / "scores.json").write_text("{}")
    assert is_finished(tmp_path)


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


def guided(tmp_path, tiny_config, monkeypatch, **options):
    """Runs `guidance` of one setting, whose runs are not trained but have their last row."""
    trained = []

    def finish(config, path):
        trained.append(path.name)
        path.mkdir(parents=True)
        (path / "config.json").write_text(to_json(config))
        row = {"iteration": config.n_iterations, "env_steps": 1, "true_return": 0.0, "success_rate": 0.0}
        row |= {"eval_success_rate": 0.5}
        rows = [json.dumps(row | {"seed": seed}) for seed in range(config.seeds)]
        (path / "metrics.jsonl").write_text("\n".join(rows) + "\n")

    monkeypatch.setattr(guidance, "finish_run", finish)
    guidance.run_all(guidance.Command(out=tmp_path / "out", only=("door-open-text",), **options))
    return trained


def test_guidance_keeps_finished_runs_of_the_same_length_alone(tmp_path, tiny_config, monkeypatch):
    assert guided(tmp_path, tiny_config, monkeypatch) == ["door-open-text-small"]
    table = tmp_path / "out" / "table.md"
    assert "| door-open | text | small | 50% 50% 50% |" in table.read_text()
    table.unlink()
    assert guided(tmp_path, tiny_config, monkeypatch) == [] and table.exists()
    with pytest.raises(ValueError, match="was made with total_env_steps="):
        guided(tmp_path, tiny_config, monkeypatch, iterations=90)


def test_guidance_refuses_names_that_mean_no_setting(tmp_path):
    with pytest.raises(ValueError, match="--only door-opn: no setting has it in its name; there are drawer-close-text"):
        guidance.run_all(guidance.Command(out=tmp_path, only=("door-opn",)))


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
