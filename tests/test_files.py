"""A file is replaced whole or not at all."""

import threading

import pytest

from rcjax.files import cache_folder, write_atomically


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


def test_writers_at_once_do_not_mix(tmp_path):
    """Both have written before either replaces the file, as two processes that share a name would."""
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
