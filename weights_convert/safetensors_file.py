"""Reads safetensors files: the length of a JSON header in 8 bytes, the header, and the tensors' bytes.

The header has shape, dtype and place of each tensor (https://github.com/huggingface/safetensors). As the format
demands, the tensors must fill the rest of the file without overlaps and gaps. Memory is bounded by the expected
tensors, whatever sizes the file claims.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rcjax.messages import ArraySpecs, one_line, quote

MAX_HEADER_BYTES = 2**20  # the header of CLIP has about 50 kB
MAX_AXES = 8
DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8}

SelectNames = Callable[[ArraySpecs], Collection[str]]
"""Returns the names to read of all tensors. Raises ValueError if they are not those that are expected."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A tensor in the file; its bytes are from `begin` to `end`, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def is_safetensors(path: Path) -> bool:
    """Returns whether the file begins like one of safetensors: with a plausible length and a JSON object."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start.endswith(b"{") and int.from_bytes(start[:8], "little") < 2**40


def read_safetensors(path: Path, select: SelectNames, model: str) -> dict[str, np.ndarray]:
    """Returns the tensors that `select` chooses, by name; bfloat16 becomes float32.

    Raises ValueError with one short line that begins with `path` if the file is not a complete safetensors file, or if
    `select` does. It says that the file is expected to have the weights of `model`.
    """
    try:
        with path.open("rb") as file:
            entries, start = _read_header(file)
            _check_places(entries, os.fstat(file.fileno()).st_size - start)
            names = select({name: (entry.shape, entry.dtype) for name, entry in entries.items()})
            return {name: _read(file, start, entries[name]) for name in names}
    except Exception as error:  # damaged headers raise exceptions of many types
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be read as {model}'s weights: {one_line(reason)}.") from error


def _read_header(file: BinaryIO) -> tuple[dict[str, Entry], int]:
    """Returns the tensors by name, and where their bytes start."""
    size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"its safetensors header has {size} bytes, over {MAX_HEADER_BYTES}")
    data = file.read(size)
    if len(data) != size:
        raise ValueError("it ends in its safetensors header; the file is truncated")
    try:
        header = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its safetensors header is damaged ({one_line(str(error), 100)})") from error
    if not isinstance(header, dict):
        raise ValueError("its safetensors header is not a JSON object")
    return {name: _entry(name, value) for name, value in header.items() if name != "__metadata__"}, 8 + size


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _entry(name: str, value: Any) -> Entry:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [begin, end], **rest} if (
            not rest and len(shape) <= MAX_AXES and all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end))
        ):
            if dtype not in DTYPES:
                raise ValueError(f"tensor {quote(name)} has the dtype {quote(dtype)}, expected one of {list(DTYPES)}")
            return Entry(DTYPES[dtype], tuple(shape), begin, end)
    raise ValueError(f"the header's entry of {quote(name)} is not a dtype, a shape and two offsets")


def _check_places(entries: dict[str, Entry], n_bytes: int) -> None:
    """Raises ValueError unless the tensors fill the `n_bytes` bytes after the header, each with its size."""
    filled = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        size = math.prod(entry.shape) * ITEM_BYTES[entry.dtype]
        if entry.end - entry.begin != size:
            raise ValueError(f"tensor {quote(name)} has {entry.end - entry.begin} bytes, expected {size}")
        if entry.begin != filled:
            raise ValueError(f"tensor {quote(name)} begins at byte {entry.begin}, expected {filled}")
        filled = entry.end
    if filled > n_bytes:
        raise ValueError(f"it has {n_bytes} bytes of tensors, expected {filled}; the file is truncated")
    if filled < n_bytes:
        raise ValueError("it continues after its last tensor")


def _read(file: BinaryIO, start: int, entry: Entry) -> np.ndarray:
    file.seek(start + entry.begin)
    data = file.read(entry.end - entry.begin)
    if entry.dtype == "bfloat16":  # the upper half of a float32
        bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return bits.view(np.float32).reshape(entry.shape)
    return np.frombuffer(data, np.dtype(entry.dtype).newbyteorder("<")).reshape(entry.shape)
