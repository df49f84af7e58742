"""Runs of experiments, with a few operations instead of physics, and the experiment on rewards around them."""

import dataclasses

import pytest

from experiments import guidance, rewards
from experiments.runs import finish_run, is_finished, last_rows
from rcjax import train
from rcjax.config import TrainConfig
from tests import toy


@pytest.fixture(scope="module", autouse=True)
def toys():
    with toy.installed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "policy_video", lambda *_: None)
        yield


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


def test_every_job_of_the_experiment_has_a_config():
    """A job that is finetuned comes after the run that it begins from, and keeps its environments and networks."""
    command, names = rewards.Command(), []
    for job in rewards.jobs(command.tasks):
        config = rewards.job_config(command, job)
        assert isinstance(config, TrainConfig) and config.env.task == job.task and config.seeds == 5
        if job.finetune is None:
            assert config.n_iterations == 60 and config.init_from is None
        else:
            assert config.reward == "dense" and config.n_iterations == 20
            assert str(config.init_from).rpartition("/")[2] in names
        names.append(job.name)
    assert len(names) == len(set(names)) == 3 * (5 + 6)


def test_the_table_has_intervals():
    values = {"success_rate": [0.0, 0.5, 1.0], "true_return": [1.0, 2.0, 3.0], "normalized_return": [0.1, 0.2, 0.3]}
    row = {"task": "drawer-close", "method": "text", "finetune": None} | dict.fromkeys(rewards.SELECTED, values)
    line = rewards.as_markdown([row]).splitlines()[-1]
    assert line.startswith("| drawer-close | text |  | 0.5 (0 to 1) | 2 (1 to 3) | 0.2 (0.1 to 0.3) |")


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
