"""Decimated meshes that come with the package, so that a first run of a task does not have to decimate them.

They are those of all tasks' scenes at the size of the preset `demo`, written by `python -m experiments.prepare_meshes`.
"""

import collections
import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rcjax.files import write_arrays
from rcjax.render.primitives import Triangles

FILE = Path(__file__).with_name("prepared_meshes.npz")
MAX_RATIO = 2.2  # of a bound and that of the prepared mesh; beyond it, decimating again saves too many triangles

Decimated = tuple[Float[np.ndarray, "K 3 3"], Float[np.ndarray, "K 3 3"]]
"""Corners and normals of a decimated mesh in float32"""

_listeners: list[list[tuple[Triangles, float]]] = []


def find(original: Triangles, max_error: float, version: int) -> Decimated | None:
    """Returns a mesh that deviates from `original` by at most `max_error` metres, or None if there is none.

    It is that of the largest bound up to `max_error`, and of at least `max_error / MAX_RATIO`. `version` is that of the
    decimation, which the file has to have.
    """
    for asked in _listeners:
        asked.append((original, max_error))
    key = digest(original)
    fitting = [bound for bound in _bounds(version).get(key, ()) if max_error / MAX_RATIO <= bound <= max_error]
    if not fitting:
        return None
    name = _name(key, max(fitting))
    with np.load(FILE, allow_pickle=False) as stored:
        return stored[f"{name} corners"], stored[f"{name} normals"]


@contextlib.contextmanager
def asked_for() -> Iterator[Sequence[tuple[Triangles, float]]]:
    """Collects the meshes, with their bounds in metres, that scenes ask for while the context lasts."""
    asked: list[tuple[Triangles, float]] = []
    _listeners.append(asked)
    try:
        yield asked
    finally:
        _listeners.remove(asked)


def write(meshes: Mapping[tuple[str, float], Decimated], version: int, path: Path = FILE) -> None:
    """Writes meshes by the digest of their original and their bound in metres."""
    arrays: dict[str, np.ndarray] = {"version": np.array(version)}
    for (original, bound), (corners, normals) in sorted(meshes.items()):
        arrays[f"{_name(original, bound)} corners"] = corners
        arrays[f"{_name(original, bound)} normals"] = normals
    write_arrays(path, arrays)


def digest(original: Triangles) -> str:
    """Returns a hash of the mesh before decimation."""
    whole = hashlib.sha256(original.corners.tobytes())
    whole.update(original.normals.tobytes())
    return whole.hexdigest()[:32]


def _name(original: str, bound: float) -> str:
    return f"{original} {bound!r}"


@functools.cache
def _bounds(version: int) -> Mapping[str, Sequence[float]]:
    """Returns the bounds in metres of the stored meshes by the digests of their originals."""
    bounds: dict[str, list[float]] = collections.defaultdict(list)
    if not FILE.exists():  # before it is written for the first time
        return bounds
    with np.load(FILE, allow_pickle=False) as stored:
        if stored["version"] == version:
            for name in stored.files:
                if name.endswith(" corners"):
                    original, bound, _ = name.split(" ")
                    bounds[original].append(float(bound))
    return bounds
