"""Atomic writes, checks that a folder is writable, and the cache folder."""

import errno
import os
import pwd
import threading
from pathlib import Path

import pytest

from rcjax import files
from rcjax.files import (
    cache_folder,
    describe_os_error,
    require_writable_folder,
    translate_tensorstore_errors,
    write_atomically,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "made" / "file.txt"
    write_atomically(path, lambda part: part.write_text("old"))

    def fail(part):
        part.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_simultaneous_writers_do_not_mix(tmp_path):
    """Both writers have written before either of them replaces the file, as two processes with the same path may do."""
    path, both = tmp_path / "file.txt", threading.Barrier(2)

    def write(text):
        def fill(part):
            part.write_text(text)
            both.wait(10)

        write_atomically(path, fill)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in ("a" * 1000, "b" * 1000)
    assert len(list(tmp_path.iterdir())) == 1


def test_tests_have_a_cache_of_their_own(own_caches):
    assert cache_folder() == own_caches


@pytest.fixture
def no_home(monkeypatch):
    """A user whom the system does not know, as in many containers, and none of the environment variables."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "RCJAX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"RCJAX_CACHE": "/own"}, "/own"),
        ({"RCJAX_CACHE": "/own", "HOME": "", "XDG_CACHE_HOME": "/xdg"}, "/own"),
        ({"RCJAX_CACHE": "own"}, "{here}/own"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/rcjax"),
        ({"RCJAX_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/rcjax"),
        ({"HOME": "/me"}, "/me/.cache/rcjax"),
        ({"HOME": "/me", "RCJAX_CACHE": "", "XDG_CACHE_HOME": ""}, "/me/.cache/rcjax"),
        ({"HOME": "/me", "XDG_CACHE_HOME": "relative"}, "/me/.cache/rcjax"),
        ({"HOME": "/me", "RCJAX_CACHE": "~/own"}, "/me/own"),
        ({"HOME": "/me", "RCJAX_CACHE": "~"}, "/me"),
    ],
)
def test_cache_folder_looks_up_the_home_only_if_needed(no_home, variables, folder):
    for name, value in variables.items():
        no_home.setenv(name, value)
    assert str(cache_folder()) == folder.format(here=Path.cwd())


@pytest.mark.parametrize("variables", [{}, {"HOME": ""}, {"XDG_CACHE_HOME": "relative"}, {"RCJAX_CACHE": "~/own"}])
def test_without_any_home_the_error_gives_a_hint(no_home, variables):
    for name, value in variables.items():
        no_home.setenv(name, value)
    with pytest.raises(ValueError, match="set RCJAX_CACHE to a writable folder"):
        cache_folder()


def test_the_cache_in_the_home_of_an_unknown_user_is_refused(no_home):
    no_home.setenv("RCJAX_CACHE", "~nobody-of-that-name/cache")
    with pytest.raises(ValueError, match="there is no user 'nobody-of-that-name'"):
        cache_folder()


def test_the_check_of_a_writable_folder_leaves_nothing_behind(tmp_path):
    require_writable_folder(tmp_path / "a" / "b", "name")
    require_writable_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("file", "", "Not a directory"),
        ("file/below", "run", "Not a directory"),
        ("x" * 300, "run", "choose a shorter name"),
        (".", "x" * 300, "choose a shorter name"),
        ("/dev/null", "run", "Not a directory"),
        ("/proc/none", "run", "cannot be written"),
        ("dangling", "run", "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, folder, name, message):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ValueError, match=message) as refused:
        require_writable_folder(tmp_path / folder, name, hint="choose another")
    assert len(str(refused.value)) < 350
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT])
def test_the_systems_message_about_a_folder_is_passed_on(tmp_path, monkeypatch, code):
    def refuse(**options):
        raise OSError(code, os.strerror(code), "trial")

    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    with pytest.raises(ValueError, match=f"cannot be written: {os.strerror(code)}; (choose another|make room)"):
        require_writable_folder(tmp_path, hint="choose another")


def test_a_disk_without_enough_room_is_refused(tmp_path):
    with pytest.raises(ValueError, match="MiB are needed; make room, or choose another"):
        require_writable_folder(tmp_path, room=1 << 60, hint="choose another")


def test_the_description_of_an_error_has_file_reason_and_hint():
    full = OSError(errno.ENOSPC, "No space left on device", "a.txt")
    assert describe_os_error(full).startswith("a.txt: No space left on dev")
    denied = OSError(errno.EACCES, "Permission denied")
    assert describe_os_error(denied, "ask for it") == "Permission denied; ask for it."
    assert describe_os_error(OSError("plain")) == "plain."


def test_system_errors_of_tensorstore_become_os_errors():
    with pytest.raises(OSError) as full, translate_tensorstore_errors(Path("checkpoints")):
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write [os_error_code='28' source_locations='...']")
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, "checkpoints")
    with pytest.raises(ValueError, match="another"), translate_tensorstore_errors(Path("checkpoints")):
        raise ValueError("another")
