"""One process at a time trains a run: a lock that the operating system lets go of, however its holder ends."""

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

NO_LOCKS = "See to it that no other process does the same: there are no locks here"
UNSUPPORTED = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # file systems without locks


@contextmanager
def hold(path: Path, doing: str, log: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock file `path`, which is made and removed again, for as long as the block runs.

    Raises ValueError where another process holds it, as one that is `doing` something ("runs/a is being trained"), or
    where the file cannot be made. Where the file system knows no locks (some network file systems, and Windows), it is
    said that nothing keeps a second process out, and the block runs all the same.
    """
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _lock(path, doing, log)
    except OSError as error:
        _remove_empty(missing)
        raise ValueError(
            f"{path.parent} cannot be written to ({error.strerror or error}); free it, or choose another folder."
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is still held, so that nobody's new file is removed
        os.close(file)
        _remove_empty(missing)


def _lock(path: Path, doing: str, log: Callable[[str], None]) -> int:
    """A descriptor of the locked file, with this process's name in it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(file, doing, log)
            if _is_file_at(path, file):
                os.truncate(file, 0)
                os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the holder before us removed it between our opening and locking it


def _take(file: int, doing: str, log: Callable[[str], None]) -> None:
    if fcntl is None:
        return log(f"{NO_LOCKS}.")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            log(f"{NO_LOCKS} ({error.strerror}).")
        elif error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            holder = os.pread(file, 300, 0).decode(errors="replace") or "another process"
            raise ValueError(f"{doing} by {holder}; wait for it to end, or stop it.") from error
        else:
            raise


def _is_file_at(path: Path, file: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False


def _remove_empty(folders: list[Path]) -> None:
    """Removes what was made for the lock alone, innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
