"""A lock that lets one process at a time train a run. The operating system releases it however its holder ends."""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None

NO_LOCKS = "There are no locks here, so make sure yourself that no other process does the same"
UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # file systems without locks


class Held(ValueError):
    """Raised when another process holds a lock."""


@contextmanager
def hold_lock(path: Path, activity: str, log: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock while the block runs.

    Some network file systems, and Windows, have no locks. There the block runs without one, and `log` gets a warning.

    Args:
        path: The lock file. It is made with its folder, and removed at the end.
        activity: What the holder of the lock does ("runs/a is being trained"), for the error message.
        log: Takes one line of text for the user.

    Raises:
        Held: Another process holds the lock.
        ValueError: The file cannot be made.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(path, activity, log)
    except OSError as error:
        _remove_empty(missing)
        raise ValueError(
            f"{path.parent} cannot be written to ({error.strerror or error}); make it writable or choose another one."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while the lock is held, so that no other process's new file is removed
        os.close(file)
        _remove_empty(missing)


def _open_locked(path: Path, activity: str, log: Callable[[str], None]) -> int:
    """Returns a descriptor of the locked file, which names this process."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _acquire(file, activity, log)
            if _is_file_at(path, file):
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the previous holder removed the file after we opened it, before we locked it


def _acquire(file: int, activity: str, log: Callable[[str], None]) -> None:
    if fcntl is None:
        return log(f"{NO_LOCKS}.")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            log(f"{NO_LOCKS} ({error.strerror}).")
        elif error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            holder = os.pread(file, 300, 0).decode(errors="replace") or "another process"
            raise Held(f"{activity} by {holder}; wait for it to end, or stop it.") from error
        else:
            raise


def _is_file_at(path: Path, file: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


def _remove_empty(folders: list[Path]) -> None:
    """Removes the folders that are empty, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
