"""Reads the tensors that torch.save and torch.jit.save wrote, without torch and without running code from the file.

There are two layouts of torch.save: that before torch 1.6, which is five pickles followed by the raw storages
(s3d_howto100m.pth has it), and the newer ZIP archive. A TorchScript archive of torch.jit.save (CLIP's ViT-B-32.pt is
one) is such a ZIP archive that holds modules instead of a dictionary, and their code, which is not read. What the
pickles may hold is said by the `Rules` of `state_pickle`. Memory is bounded by the expected tensors, whatever sizes the
file claims.
"""

import functools
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rcjax.messages import ArraySpecs, enumerate_names, one_line, quote
from weights_convert.state_check import check_tensors, storages_by_key
from weights_convert.state_pickle import STATE_DICT, PickleReader, Rules, Storage, Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")
ZIP_START = b"PK\x03\x04"
MAX_PICKLE_BYTES = 16 * 2**20  # the pickle of S3D has 96 kB
MAX_DIRECTORY_BYTES = 2 * 2**20  # of a ZIP archive's list of members; the lists of S3D and CLIP have about 60 kB

SelectTensors = Callable[[Any], dict[str, Tensor]]
"""Returns the tensors to read of an unpickled value. Raises ValueError if they are not those that are expected."""


def read_torch_file(path: Path, spec: ArraySpecs) -> dict[str, np.ndarray]:
    """Returns the tensors of the state dict at `path`, by name, which must match `spec`.

    Raises ValueError with one short line that begins with `path` if the file is not a complete torch.save file, if it
    holds anything but tensors, or if its tensors are not those of `spec`.
    """
    return read_tensors(path, functools.partial(check_tensors, spec=spec), "S3D", STATE_DICT)


def read_tensors(path: Path, select: SelectTensors, model: str, rules: Rules) -> dict[str, np.ndarray]:
    """Returns the tensors that `select` chooses, by name. Raises ValueError as `read_torch_file` does.

    Errors say that the file is expected to have the weights of `model`.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
            file.seek(0)
            if start == LEGACY_START:
                return _read_legacy(file, select, rules)
            if zipfile.is_zipfile(file):
                return _read_zip(path, select, rules)
            if start.startswith(ZIP_START):
                raise ValueError("it is a ZIP archive without an end; the file is truncated")
            raise ValueError("it does not begin like a file of torch.save")
    except Exception as error:  # damaged archives raise exceptions of almost any type
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be read as {model}'s weights: {one_line(reason)}.") from error


def is_torchscript(path: Path) -> bool:
    """Returns whether the file is a ZIP archive with the members of torch.jit.save; damaged archives are not."""
    try:
        with _ZipFile(path) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # damaged archives raise exceptions of almost any type
        return False
    return {"data.pkl", "constants.pkl"} <= {name.rsplit("/", 1)[-1] for name in names if name.count("/") == 1}


def _read_legacy(file: BinaryIO, select: SelectTensors, rules: Rules) -> dict[str, np.ndarray]:
    """Reads five pickles (magic number, protocol, system, state dict, storage keys), then one storage per key."""
    header = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    fits_whole = len(header.getbuffer()) < MAX_PICKLE_BYTES
    what = "header" if fits_whole else f"header (whose first {MAX_PICKLE_BYTES} bytes are read)"
    pickles = PickleReader(header, what, rules)
    if pickles.load() != LEGACY_MAGIC or pickles.load() != LEGACY_PROTOCOL:
        raise ValueError("its header is not that of torch.save")
    _check_system(pickles.load())
    tensors = select(pickles.load())
    storages = storages_by_key(tensors)
    keys = pickles.load()
    if not isinstance(keys, list) or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages does not match its tensors")
    file.seek(header.tell())
    arrays = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(_read_exactly(file, 8, storage), "little")
        if count != storage.size:
            raise ValueError(f"storage {quote(key)} says it has {count} elements, but its tensor says {storage.size}")
        arrays[key] = storage.to_array(_read_exactly(file, storage.n_bytes, storage))
    if file.read(1):
        raise ValueError("it continues after its last storage")
    return {name: _view(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _check_system(system: Any) -> None:
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was not written on a little-endian machine")


def _read_zip(path: Path, select: SelectTensors, rules: Rules) -> dict[str, np.ndarray]:
    """Reads the pickle `*/data.pkl` and the raw storages in `*/data/KEY`; ZIP keeps a checksum of each."""
    with _ZipFile(path) as file, zipfile.ZipFile(file) as archive:
        file.max_read = None
        sizes = _member_sizes(archive)
        root = _root(list(sizes), rules)
        _check_compression(archive, root, rules)
        _check_byte_order(archive, f"{root}byteorder", sizes)
        size = sizes[f"{root}data.pkl"]
        if size > MAX_PICKLE_BYTES:
            raise ValueError(f"its data.pkl has {size} bytes, over {MAX_PICKLE_BYTES}")
        tensors = select(PickleReader(io.BytesIO(archive.read(f"{root}data.pkl")), "data.pkl", rules).load())
        arrays = {}
        for key, storage in storages_by_key(tensors).items():
            name = f"{root}data/{key}"
            if name not in sizes:
                raise ValueError(f"it has no member {quote(name)}, the storage of a tensor")
            if sizes[name] != storage.n_bytes:
                raise ValueError(f"storage {quote(key)} has {sizes[name]} bytes, expected {storage.n_bytes}")
            arrays[key] = storage.to_array(archive.read(name))
    return {name: _view(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _check_compression(archive: zipfile.ZipFile, root: str, rules: Rules) -> None:
    """Raises ValueError if a member is compressed; torch.jit.save compresses code, which is not read."""
    read = (f"{root}data.pkl", f"{root}data/", f"{root}byteorder")
    for member in archive.infolist():
        compressed = member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size
        if compressed and (not rules.scripted or member.filename.startswith(read)):
            raise ValueError("it is a compressed ZIP archive, which torch.save does not write")


class _ZipFile(io.FileIO):
    """A file that refuses reads of more than `max_read` bytes.

    zipfile reads an archive's list of members at once, and creates an object for every 46 bytes of it.
    """

    max_read: int | None = MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if self.max_read is not None and size is not None and size > self.max_read:
            raise ValueError(f"its list of members has {size} bytes, over {self.max_read}")
        return super().read(-1 if size is None else size) or b""


def _member_sizes(archive: zipfile.ZipFile) -> dict[str, int]:
    """Returns the sizes of the members by name. Raises ValueError if they are encrypted or if a name occurs twice."""
    members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise ValueError("it is an encrypted ZIP archive, which torch.save does not write; decrypt it")
    if duplicates := [quote(name) for name, n in Counter(member.filename for member in members).items() if n > 1]:
        raise ValueError(f"it is a ZIP archive with more than one member of the name {enumerate_names(duplicates)}")
    return {member.filename: member.file_size for member in members}


def _root(names: list[str], rules: Rules) -> str:
    """Returns the folder of data.pkl, with its slash. Raises ValueError if the members are not those of torch.save."""
    pickles = [name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"]
    if not pickles:
        members = f"its members: {enumerate_names([quote(name) for name in names])}" if names else "it is empty"
        raise ValueError(f"it is a ZIP archive without the data.pkl of torch.save ({members})")
    if len(pickles) > 1:
        found = enumerate_names([quote(name) for name in pickles])
        raise ValueError(f"it is a ZIP archive with {len(pickles)} files data.pkl ({found}); torch.save writes one")
    root = pickles[0].removesuffix("data.pkl")
    if root.count("/") != 1:
        raise ValueError(
            f"it is a ZIP archive with {quote(pickles[0])}; torch.save writes it in one folder, NAME/data.pkl"
        )
    if f"{root}constants.pkl" in names and not rules.scripted:
        raise ValueError(
            "it is a TorchScript archive of torch.jit.save; save only the tensors, by "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    return root


def _check_byte_order(archive: zipfile.ZipFile, name: str, sizes: dict[str, int]) -> None:
    """Raises ValueError for a big-endian file.

    Before version 2, torch did not write this member, and ran on little-endian machines only.
    """
    if name not in sizes:
        return
    order = archive.read(name) if sizes[name] < 20 else b""
    if order != b"little":
        said = quote(order.decode("latin-1")) if order else f"{sizes[name]} bytes"
        raise ValueError(f"it was not written on a little-endian machine: its byteorder says {said}")


def _read_exactly(file: BinaryIO, count: int, storage: Storage) -> bytes:
    left = os.fstat(file.fileno()).st_size - file.tell()
    data = file.read(count) if count <= left else b""
    if len(data) != count:
        raise ValueError(f"it ends in storage {quote(storage.key)}; the file is truncated")
    return data


def _view(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """Returns the tensor as a view of its storage, which it fills; the order of its axes follows from the strides."""
    order = sorted(range(len(tensor.shape)), key=lambda axis: tensor.strides[axis], reverse=True)
    return array.reshape([tensor.shape[axis] for axis in order]).transpose(np.argsort(order))
