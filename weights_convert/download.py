"""Downloads the two public files of S3D (HowTo100M), and resumes an interrupted download."""

import http.client
import sys
import urllib.request
from pathlib import Path

from rcjax.messages import one_line

BASE_URL = "https://www.rocq.inria.fr/cluster-willow/amiech/howto100m"  # from the README of antoine77340/S3D_HowTo100M
FILES = {"s3d_howto100m.pth": 125031128, "s3d_dict.npy": 5830040}  # bytes
CHUNK_BYTES = 2**20
TIMEOUT_SECONDS = 60  # without receiving a byte


def download(directory: Path, base_url: str = BASE_URL, files: dict[str, int] = FILES) -> list[Path]:
    """Downloads `files` (name -> size in bytes) into `directory` and returns their paths.

    The directory is created if necessary. A file that exists with the right size is kept. An incomplete file is called
    NAME.part, and its download is resumed. Raises ValueError with a message of one line if the server cannot be reached
    or sends a file of another size.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return [_fetch(f"{base_url.rstrip('/')}/{name}", directory / name, size) for name, size in files.items()]


def _fetch(url: str, path: Path, size: int) -> Path:
    if path.exists():
        if path.stat().st_size != size:
            raise ValueError(f"{path} has {path.stat().st_size} bytes, expected {size}; remove it and try again.")
        return path
    part = path.with_name(path.name + ".part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    if not part.exists() or part.stat().st_size < size:
        try:
            _resume(url, part, size)
        except (OSError, http.client.HTTPException) as error:
            raise ValueError(
                f"{url} could not be downloaded: {one_line(str(error), 200)}; run this again to resume."
            ) from error
    received = part.stat().st_size
    if received < size:
        raise ValueError(f"the download of {url} stopped at {received} of {size} bytes; run this again to resume.")
    if received > size:
        part.unlink()
        raise ValueError(f"{url} sends more than the {size} bytes expected; it is a different file.")
    return part.rename(path)


def _resume(url: str, part: Path, size: int) -> None:
    """Appends the missing bytes to `part`; starts over if the server does not support ranges."""
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        if start and response.status != 206:
            start = 0
        elif start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise OSError(f"the server sent {response.headers.get('Content-Range')!r} for bytes from {start}")
        with part.open("ab" if start else "wb") as file:
            while start <= size and (chunk := response.read(CHUNK_BYTES)):
                file.write(chunk)
                start += len(chunk)
                _print_progress(part.stem, start, size)


def _print_progress(name: str, done: int, size: int) -> None:
    end = "\n" if done >= size else ""
    print(f"\r{name}: {done / 1e6:.0f} of {size / 1e6:.0f} MB", end=end, file=sys.stderr, flush=True)
