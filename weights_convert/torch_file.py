"""Reads state dicts that torch.save wrote, without torch, and without running anything the file asks for.

Two layouts: the one before torch 1.6, four pickles and then the raw storages (s3d_howto100m.pth is one of
these), and the newer ZIP archive. The pickles are only allowed dictionaries of tensors over float32 and
int64 storages.
"""

import contextlib
import dataclasses
import io
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")
LARGEST_PICKLE = 16 * 2**20  # bytes; that of S3D has 96 kB
Spec = dict[str, tuple[tuple[int, ...], str]]  # name -> shape, dtype


@dataclasses.dataclass(frozen=True)
class Storage:
    """A flat array of the file, yet to be read."""

    key: str
    dtype: str
    size: int

    @property
    def n_bytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize

    def to_array(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.dtype(self.dtype).newbyteorder("<"))


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view into a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _StateDict(dict):
    """Stands in for OrderedDict; ignores the attributes (`_metadata`) that torch pickles with it."""

    def __setstate__(self, state: Any) -> None:
        pass


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    numbers_of = (shape, strides)
    if not (
        isinstance(storage, Storage)
        and isinstance(offset, int)
        and all(isinstance(numbers, tuple) for numbers in numbers_of)
        and len(shape) == len(strides)
        and all(isinstance(number, int) and number >= 0 for number in (offset, *shape, *strides))
    ):
        raise ValueError("it holds a malformed tensor")
    return Tensor(storage, offset, shape, strides)


ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _StateDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "float32",
    ("torch", "LongStorage"): "int64",
}


class _Unpickler(pickle._Unpickler):
    """Knows the names in `ALLOWED` and nothing else.

    Of the pure Python kind, as the other allocates whatever memo size a damaged byte asks for.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return ALLOWED[module_name, global_name]
        except KeyError:
            raise ValueError(
                f"it asks for {module_name}.{global_name}, which is refused: a dictionary of float32 and "
                "int64 tensors needs no such thing"
            ) from None

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", "float32" | "int64" as dtype, str(key), str(), int(size), *_) if size >= 0:
                return Storage(key, dtype, size)
        raise ValueError("it refers to something else than a float32 or int64 storage")


def read_torch_file(path: Path, spec: Spec) -> dict[str, np.ndarray]:
    """The tensors of the state dict at `path`, which must be those of `spec`.

    Raises ValueError, one line that begins with `path`, for a file that is not a whole torch.save file,
    holds other things than tensors, or other tensors than `spec` names.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
            file.seek(0)
            if start == LEGACY_START:
                return _read_legacy(file, spec)
            if zipfile.is_zipfile(file):
                return _read_zip(file, spec)
            raise ValueError("it does not begin as a file of torch.save does")
    except Exception as error:  # damaged pickles raise about every kind there is
        reason = str(error).strip() if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be read as S3D's weights: {' '.join(reason.split())}.") from error


def _read_legacy(file: BinaryIO, spec: Spec) -> dict[str, np.ndarray]:
    """Magic, protocol, system, state dict, storage keys, each a pickle; then the storages in that order."""
    header = io.BytesIO(file.read(LARGEST_PICKLE))
    with _as_damage("header"):
        if _Unpickler(header).load() != LEGACY_MAGIC or _Unpickler(header).load() != LEGACY_PROTOCOL:
            raise ValueError("its header is not that of torch.save")
        system = _Unpickler(header).load()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("it was not written on a little-endian machine")
        tensors = _check_tensors(_Unpickler(header).load(), spec)
        storages = _storages(tensors)
        keys = _Unpickler(header).load()
        if not isinstance(keys, list) or sorted(keys) != sorted(storages):
            raise ValueError("its list of storages does not fit its tensors")
    file.seek(header.tell())
    arrays = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(_read_exactly(file, 8, storage), "little")
        if count != storage.size:
            raise ValueError(f"storage {key!r} says it has {count} elements, its tensor says {storage.size}")
        arrays[key] = storage.to_array(_read_exactly(file, storage.n_bytes, storage))
    if file.read(1):
        raise ValueError("it goes on after its last storage")
    return {name: _view(name, tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_zip(file: BinaryIO, spec: Spec) -> dict[str, np.ndarray]:
    """`*/data.pkl` is the state dict, `*/data/KEY` the raw storages; ZIP keeps a checksum of each."""
    with zipfile.ZipFile(file) as archive:
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is a compressed ZIP archive, which torch.save does not write")
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        pickles = [name for name in sizes if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a ZIP archive without the data.pkl of torch.save")
        root = pickles[0].removesuffix("data.pkl")
        if sizes.get(f"{root}byteorder") and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("it was not written on a little-endian machine")
        if sizes[pickles[0]] > LARGEST_PICKLE:
            raise ValueError(f"its data.pkl has {sizes[pickles[0]]} bytes, over {LARGEST_PICKLE}")
        with _as_damage("data.pkl"):
            tensors = _check_tensors(_Unpickler(io.BytesIO(archive.read(pickles[0]))).load(), spec)
        arrays = {}
        for key, storage in _storages(tensors).items():
            name = f"{root}data/{key}"
            if sizes.get(name) != storage.n_bytes:
                raise ValueError(f"storage {key!r} has {sizes.get(name, 0)} bytes, expected {storage.n_bytes}")
            arrays[key] = storage.to_array(archive.read(name))
    return {name: _view(name, tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


@contextlib.contextmanager
def _as_damage(what: str) -> Iterator[None]:
    """Turns what a damaged pickle raises into one ValueError."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"its {what} is cut off or damaged ({type(error).__name__}: {error})") from error


def _check_tensors(state: Any, spec: Spec) -> dict[str, Tensor]:
    """The tensors, if they are those of `spec`; the error lists all that are not."""
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise ValueError("it holds no dictionary of tensors")
    found = {name: (tensor.shape, tensor.storage.dtype) for name, tensor in state.items()}
    problems = [
        _listed("missing", sorted(spec.keys() - found.keys()), str),
        _listed("not expected", sorted(found.keys() - spec.keys()), repr),
        _listed(
            "of another shape or dtype",
            [name for name in spec if name in found and found[name] != spec[name]],
            lambda name: f"{name} {_describe(found[name])} instead of {_describe(spec[name])}",
        ),
    ]
    if any(problems):
        raise ValueError(f"of {len(spec)} tensors expected, {'; '.join(filter(None, problems))}")
    return dict(state)


def _storages(tensors: dict[str, Tensor]) -> dict[str, Storage]:
    """The storages by key."""
    storages: dict[str, Storage] = {}
    for tensor in tensors.values():
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise ValueError(f"it gives storage {tensor.storage.key!r} two sizes or dtypes")
    return storages


def _listed(what: str, names: list[str], describe: Callable[[str], str]) -> str:
    return f"{len(names)} {what}: {', '.join(map(describe, names))}" if names else ""


def _describe(entry: tuple[tuple[int, ...], str]) -> str:
    return f"{entry[1]}{list(entry[0])}"


def _read_exactly(file: BinaryIO, count: int, storage: Storage) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    data = file.read(count) if count <= left else b""
    if len(data) != count:
        raise ValueError(f"it ends in storage {storage.key!r}; the file is cut off")
    return data


def _view(name: str, tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """The tensor in its storage, which it must fill, in whatever order of axes."""
    filled, axes = 1, sorted(zip(tensor.strides, tensor.shape, strict=True))
    for stride, size in axes:
        if size != 1 and stride != filled:
            break
        filled *= size
    if tensor.offset != 0 or filled != math.prod(tensor.shape) or filled != array.size:
        raise ValueError(f"tensor {name} does not fill its storage of {array.size} elements")
    strides = tuple(stride * array.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(array, tensor.shape, strides, writeable=False)
