"""One command for all benchmarks: one that fails keeps no other from running."""

import sys

import pytest
import tyro

from benchmarks import everything


@pytest.fixture
def commands(monkeypatch):
    monkeypatch.setattr(everything, "COMMANDS", {"good": ("report", "nothing"), "bad": ("absent --x", "absent --x")})


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["everything", *map(str, arguments)])
    monkeypatch.setattr(everything, "device", lambda: ("cpu", "some CPU"))
    return everything.main()


def test_a_failure_is_reported_and_the_rest_runs(commands, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "--out-dir", tmp_path / "new", "--only", "bad", "good") == 1
    said = capsys.readouterr().out
    assert "bad: failed" in said and "exit code 1, see its log" in said and "good: done in" in said
    assert "No module named benchmarks.absent" in (tmp_path / "new" / "bad.log").read_text()
    assert run(monkeypatch, "--out-dir", tmp_path, "--only", "good") == 0


def test_one_that_takes_too_long_is_stopped(commands, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "--out-dir", tmp_path, "--only", "good", "--limit-s", "0.01") == 1
    assert "good: stopped after 0 s" in capsys.readouterr().out


def test_unknown_names_are_refused(commands, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "--out-dir", tmp_path / "none", "--only", "goof") == 2
    assert "unknown goof; there are good, bad" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", everything.COMMANDS)
def test_every_command_is_one_that_its_benchmark_takes(name):
    for command in everything.COMMANDS[name]:
        program, *arguments = command.split()
        module = pytest.importorskip(f"benchmarks.{program}", exc_type=ImportError)
        assert str(tyro.cli(module.Options, args=[*arguments, "--out", "there.json"]).out) == "there.json"
