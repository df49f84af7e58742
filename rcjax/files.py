"""Files that are complete or absent, whether they were changed, and the folder for what is kept between runs."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Where demonstrations, decimated meshes and compiled programs are kept: $RCJAX_CACHE, or ~/.cache/rcjax."""
    base = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("RCJAX_CACHE", Path(base) / "rcjax"))


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
