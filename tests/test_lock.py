"""The lock of a run. Oracle: processes that hold it, or have been killed while they did."""

import errno
import subprocess
import sys

import pytest

from rcjax import lock

HOLDER = """
import pathlib, sys, time
from rcjax.lock import hold
with hold(pathlib.Path(sys.argv[1]), "it is held", print):
    print("held", flush=True)
    time.sleep(600)
"""
CLAIMANTS = """
import pathlib, sys, time
from rcjax.lock import hold
path, log = map(pathlib.Path, sys.argv[1:])
for _ in range(300):
    try:
        with hold(path, "it is held", print), log.open("a") as file:
            file.write("in\\n"), file.flush()
            time.sleep(0.0005)
            file.write("out\\n"), file.flush()
    except ValueError:
        pass
"""


def python(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_the_second_is_refused_and_told_who_holds_it(tmp_path):
    path = tmp_path / ".lock"
    with python(HOLDER, path) as holder:
        assert holder.stdout.readline() == "held\n"
        told = rf"run a is being trained by process {holder.pid} on \S+; wait"
        with pytest.raises(ValueError, match=told) as refused, lock.hold(path, "run a is being trained", print):
            pass
        assert "\n" not in str(refused.value)
        assert path.exists()
        holder.kill()
    assert path.exists()  # nothing tidied it up, yet it is free
    with lock.hold(path, "run a is being trained", print):
        assert path.exists()
    assert not path.exists()


def test_folders_made_for_the_lock_alone_go_with_it(tmp_path):
    path = tmp_path / "runs" / "deep" / ".a.lock"
    with pytest.raises(KeyError), lock.hold(path, "it is held", print):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with lock.hold(path, "it is held", print):
        (path.parent / "run").mkdir()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "runs", path.parent, path.parent / "run"]


def test_only_one_at_a_time_is_in(tmp_path):
    """Four processes that take it and let go of it, and remove its file, as fast as they can."""
    path, log = tmp_path / ".lock", tmp_path / "log"
    claimants = [python(CLAIMANTS, path, log) for _ in range(4)]
    assert [claimant.wait(120) for claimant in claimants] == [0] * 4
    lines = log.read_text().split()
    assert len(lines) > 20 and lines == ["in", "out"] * (len(lines) // 2)


@pytest.mark.parametrize("place", ["file/x/.lock", "a" * 300])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written to"), lock.hold(tmp_path / place, "it is held", print):
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    said = []
    with lock.hold(tmp_path / ".lock", "it is held", said.append):
        pass
    assert len(said) == 1 and "there are no locks here (No locks available)" in said[0]
