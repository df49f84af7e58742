"""The lock of a run. The oracle is other processes that hold it, or were killed while they held it."""

import errno
import subprocess
import sys

import pytest

from rcjax import lock

HOLDER = """
import pathlib, sys, time
from rcjax.lock import hold_lock
with hold_lock(pathlib.Path(sys.argv[1]), "it is held", print):
    print("held", flush=True)
    time.sleep(600)
"""
CLAIMANTS = """
import pathlib, sys, time
from rcjax.lock import hold_lock
path, log = map(pathlib.Path, sys.argv[1:])
for _ in range(300):
    try:
        with hold_lock(path, "it is held", print), log.open("a") as file:
            file.write("in\\n"), file.flush()
            time.sleep(0.0005)
            file.write("out\\n"), file.flush()
    except ValueError:
        pass
"""


def python(script, *arguments):
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_a_second_holder_is_refused_with_the_name_of_the_first(tmp_path):
    path = tmp_path / ".lock"
    with python(HOLDER, path) as holder:
        assert holder.stdout.readline() == "held\n"
        message = rf"run a is being trained by process {holder.pid} on \S+; wait"
        with pytest.raises(ValueError, match=message) as refused, lock.hold_lock(path, "run a is being trained", print):
            pass
        assert "\n" not in str(refused.value)
        assert path.exists()
        holder.kill()
    assert path.exists()  # the file is still there, but not locked
    with lock.hold_lock(path, "run a is being trained", print):
        assert path.exists()
    assert not path.exists()


def test_folders_made_only_for_the_lock_are_removed(tmp_path):
    path = tmp_path / "runs" / "deep" / ".a.lock"
    with pytest.raises(KeyError), lock.hold_lock(path, "it is held", print):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with lock.hold_lock(path, "it is held", print):
        (path.parent / "run").mkdir()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "runs", path.parent, path.parent / "run"]


def test_only_one_process_at_a_time_holds_the_lock(tmp_path):
    """Four processes acquire and release the lock, and remove its file, as fast as they can."""
    path, log = tmp_path / ".lock", tmp_path / "log"
    claimants = [python(CLAIMANTS, path, log) for _ in range(4)]
    assert [claimant.wait(120) for claimant in claimants] == [0] * 4
    lines = log.read_text().split()
    assert len(lines) > 20 and lines == ["in", "out"] * (len(lines) // 2)


@pytest.mark.parametrize("place", ["file/x/.lock", "a" * 300])
def test_a_path_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written to"), lock.hold_lock(tmp_path / place, "it is held", print):
        pass


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    logged = []
    with lock.hold_lock(tmp_path / ".lock", "it is held", logged.append):
        pass
    assert len(logged) == 1 and "There are no locks here" in logged[0] and "(No locks available)" in logged[0]
