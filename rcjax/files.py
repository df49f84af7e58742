"""Files that are complete or absent, whether they were changed, where they can be written, and the folder for what is
kept between runs."""

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
from collections.abc import Callable, Iterator
from pathlib import Path

_WAYS_OUT = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def cache_folder() -> Path:
    """Where demonstrations, decimated meshes and compiled programs are kept: $RCJAX_CACHE, or ~/.cache/rcjax.

    $XDG_CACHE_HOME stands for ~/.cache. A variable that is empty counts as unset, and so does an $XDG_CACHE_HOME that
    is relative, as the XDG Base Directory Specification has it. Raises ValueError where there is no home either.
    """
    own, base = os.environ.get("RCJAX_CACHE", ""), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return _expanded(own).absolute()
    if os.path.isabs(base):
        return Path(base) / "rcjax"
    return _home() / ".cache" / "rcjax"


def _expanded(path: str) -> Path:
    """`~` replaced by the home, which is looked up for nothing else."""
    first, *others = Path(path).parts
    if first == "~":
        return _home().joinpath(*others)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"RCJAX_CACHE={path!r}: there is no user {first[1:]!r}; name a folder.") from None


def _home() -> Path:
    """$HOME unless it is empty, or what the system has for the user."""
    if os.environ.get("HOME"):
        return Path(os.environ["HOME"]).absolute()
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ValueError(
            "HOME is not set and the system knows no home of this user, so there is no folder for the cache; set "
            "RCJAX_CACHE to a folder that can be written."
        ) from None


def require_writable_folder(folder: Path, name: str = "", room: int = 4096, way_out: str = "choose another") -> None:
    """Raises ValueError unless files can be written to `folder`, or to one that can be made at its path.

    `name` is what will be made in it, `room` the bytes that it will take. Tries with a folder of a like name in the
    nearest one that exists, and leaves nothing.
    """
    try:
        os.lstat(folder / name)  # the whole path may be too long, or lead through a file
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ValueError(said_of(error, way_out)) from error
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(parent))
    try:
        trial = tempfile.mkdtemp(prefix=f".{name}-", dir=nearest)
        try:
            Path(trial, "part").write_bytes(bytes(min(room, 4096)))
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        free = shutil.disk_usage(nearest).free
    except OSError as error:
        bare = OSError(error.errno, error.strerror)  # without the trial's name
        raise ValueError(f"{_cut(folder)} cannot be written: {said_of(bare, way_out)}") from error
    if free < room:
        raise ValueError(
            f"{folder} has {free / 2**20:.1f} MiB free, and {room / 2**20:.0f} MiB are needed; make room, or {way_out}."
        )


def said_of(error: OSError, way_out: str = "") -> str:
    """One line: the file, what the system says, and the way out."""
    what = error.strerror or str(error)
    where = f"{_cut(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes | os.PathLike) else ""
    way_out = _WAYS_OUT.get(error.errno or 0, way_out)
    return f"{where}{what}{'; ' * bool(way_out)}{way_out}."


def _cut(path: str | Path) -> str:
    return str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."


@contextlib.contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Within it, TensorStore's errors that come from the system are raised as OSErrors of `path`."""
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
    """Replace the file by what `write` puts at the path it is given, in one step.

    A kill leaves the old file or the new one, and of several processes that write at once the last one's remains. The
    folder is made if need be.
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


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below `folder`, by its path there."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def refuse_changed(folder: Path, written: Path) -> None:
    """Raises ValueError, with the reason alone, unless `folder` still has the files whose digests `written` holds."""
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
