"""Files that are complete or absent, and the folder for what is kept between runs."""

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
