"""Atomic writes, digests of files, checks that a folder is writable, and the cache folder."""

import contextlib
import errno
import hashlib
import json
import os
import pwd
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_HINTS = {  # by the error number of the operating system
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def cache_folder() -> Path:
    """Returns the folder for demonstrations, decimated meshes and compiled programs.

    This is $RCJAX_CACHE, or else $XDG_CACHE_HOME/rcjax, or else ~/.cache/rcjax. An empty variable counts as unset, and
    so does a relative $XDG_CACHE_HOME, as the XDG Base Directory Specification demands. Raises ValueError if there is
    no home directory either.
    """
    own, base = os.environ.get("RCJAX_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return _expand_user(own).absolute()
    if os.path.isabs(base):
        return Path(base) / "rcjax"
    return _home() / ".cache" / "rcjax"


def _expand_user(path: str) -> Path:
    """Replaces `~` by the home directory, which is looked up only if it is needed."""
    first, *others = Path(path).parts
    if first == "~":
        return _home().joinpath(*others)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"RCJAX_CACHE={path!r}: there is no user {first[1:]!r}; name a folder.") from None


def _home() -> Path:
    """Returns $HOME, or the system's home directory of the user if $HOME is empty or unset."""
    if os.environ.get("HOME"):
        return Path(os.environ["HOME"]).absolute()
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ValueError(
            "HOME is not set and the system knows no home directory of this user, so there is no folder for the cache; "
            "set RCJAX_CACHE to a writable folder."
        ) from None


def require_writable_folder(folder: Path, name: str = "", room: int = 4096, hint: str = "choose another") -> None:
    """Raises ValueError unless files can be written to `folder`, which need not exist yet.

    The check makes a temporary folder in the nearest parent that exists, and removes it.

    Args:
        folder: The folder to write to.
        name: The file or folder that will be made in it.
        room: The number of bytes that have to be free.
        hint: What the user can do if the folder is not writable; it ends the error message.
    """
    try:
        os.lstat(folder / name)  # fails if the path is too long or leads through a file
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ValueError(describe_os_error(error, hint)) from error
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(parent))
    try:
        temporary = tempfile.mkdtemp(prefix=f".{name}-", dir=nearest)
        try:
            Path(temporary, "part").write_bytes(bytes(min(room, 4096)))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        unnamed = OSError(error.errno, error.strerror)  # without the name of the temporary folder
        raise ValueError(f"{_truncate(folder)} cannot be written: {describe_os_error(unnamed, hint)}") from error
    if free < room:
        raise ValueError(
            f"{folder} has {free / 2**20:.1f} MiB free, and {room / 2**20:.0f} MiB are needed; make room, or {hint}."
        )


def describe_os_error(error: OSError, hint: str = "") -> str:
    """Returns one line with the file, the system's message, and a hint.

    `hint` is used for errors that have no hint of their own, as a full disk has.
    """
    what = error.strerror or str(error)
    named = isinstance(error.filename, str | bytes | os.PathLike)
    where = f"{_truncate(os.fsdecode(error.filename))}: " if named else ""
    hint = _HINTS.get(error.errno or 0, hint)
    return f"{where}{what}; {hint}." if hint else f"{where}{what}."


def _truncate(path: str | Path) -> str:
    return str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."


@contextlib.contextmanager
def translate_tensorstore_errors(path: Path) -> Iterator[None]:
    """Raises errors of TensorStore that come from the operating system as OSErrors with the file name `path`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        code = re.search(r"os_error_code='([0-9]+)'", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Replaces the file at `path` in one step, and makes its folder if necessary.

    `write` is called with a temporary path, where it has to write the new file. If the process is killed, either the
    old file or the new one is there. If several processes write at the same time, the file of the last one remains.

    Example:
        write_atomically(path, lambda part: part.write_text("..."))
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compress: bool = True) -> None:
    """Replaces the .npz file at `path` by these NumPy arrays in one step, see `write_atomically`."""
    save = np.savez_compressed if compress else np.savez

    def write(part: Path) -> None:
        with part.open("wb") as file:  # given a name, savez would append .npz
            save(file, **arrays)

    write_atomically(path, write)


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file below `folder`, by its path relative to it."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def require_unchanged(folder: Path, written: Path) -> None:
    """Raises ValueError unless `folder` still has the files whose digests the file `written` lists.

    The message is the reason alone.
    """
    try:
        expected, found = json.loads(written.read_bytes()), digests(folder)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{written.name} or a file that it lists cannot be read") from error
    if not isinstance(expected, dict):
        raise ValueError(f"{written.name} cannot be read")
    missing = sorted(set(expected) - set(found))
    if missing:
        raise ValueError(f"{folder.name}/{missing[0]} is missing")
    changed = sorted(name for name in expected if expected[name] != found[name])
    if changed:
        raise ValueError(f"{folder.name}/{changed[0]} was changed")
