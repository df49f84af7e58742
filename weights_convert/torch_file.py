"""Reads state dicts that torch.save wrote, without torch, and without running anything the file asks for.

Two layouts: the one before torch 1.6, four pickles and then the raw storages (s3d_howto100m.pth is one of
these), and the newer ZIP archive. The pickles are only allowed dictionaries of tensors over float32 and
int64 storages (`state_pickle`). Memory is bounded by the tensors that are expected, whatever sizes the file claims.
"""

import io
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rcjax.messages import Spec, enumerate_names, one_line, quote
from weights_convert.state_check import check_tensors, storages_by_key
from weights_convert.state_pickle import Pickles, Storage, Tensor

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
LEGACY_START = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")
ZIP_START = b"PK\x03\x04"
LARGEST_PICKLE = 16 * 2**20  # bytes; that of S3D has 96 kB
LARGEST_DIRECTORY = 2 * 2**20  # bytes of a ZIP archive's list of members; that of S3D has about 60 kB


def read_torch_file(path: Path, spec: Spec) -> dict[str, np.ndarray]:
    """The tensors of the state dict at `path`, which must be those of `spec`.

    Raises ValueError, one short line that begins with `path`, for a file that is not a whole torch.save file,
    holds other things than tensors, or other tensors than `spec` names.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
            file.seek(0)
            if start == LEGACY_START:
                return _read_legacy(file, spec)
            if zipfile.is_zipfile(file):
                return _read_zip(path, spec)
            if start.startswith(ZIP_START):
                raise ValueError("it is a ZIP archive without an end; the file is cut off")
            raise ValueError("it does not begin as a file of torch.save does")
    except Exception as error:  # damaged archives raise about every kind there is
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} cannot be read as S3D's weights: {one_line(reason)}.") from error


def _read_legacy(file: BinaryIO, spec: Spec) -> dict[str, np.ndarray]:
    """Magic, protocol, system, state dict, storage keys, each a pickle; then the storages in that order."""
    header = io.BytesIO(file.read(LARGEST_PICKLE))
    whole = len(header.getbuffer()) < LARGEST_PICKLE
    pickles = Pickles(header, "header" if whole else f"header (of which {LARGEST_PICKLE} bytes are read)")
    if pickles.load() != LEGACY_MAGIC or pickles.load() != LEGACY_PROTOCOL:
        raise ValueError("its header is not that of torch.save")
    _check_system(pickles.load())
    tensors = check_tensors(pickles.load(), spec)
    storages = storages_by_key(tensors)
    keys = pickles.load()
    if not isinstance(keys, list) or not all(type(key) is str for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("its list of storages does not fit its tensors")
    file.seek(header.tell())
    arrays = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(_read_exactly(file, 8, storage), "little")
        if count != storage.size:
            raise ValueError(f"storage {quote(key)} says it has {count} elements, its tensor says {storage.size}")
        arrays[key] = storage.to_array(_read_exactly(file, storage.n_bytes, storage))
    if file.read(1):
        raise ValueError("it goes on after its last storage")
    return {name: _view(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


def _check_system(system: Any) -> None:
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it was not written on a little-endian machine")


def _read_zip(path: Path, spec: Spec) -> dict[str, np.ndarray]:
    """`*/data.pkl` is the state dict, `*/data/KEY` the raw storages; ZIP keeps a checksum of each."""
    with _ZipFile(path) as file, zipfile.ZipFile(file) as archive:
        file.largest_read = None
        sizes = _member_sizes(archive)
        root = _root(list(sizes))
        if any(m.compress_type != zipfile.ZIP_STORED or m.compress_size != m.file_size for m in archive.infolist()):
            raise ValueError("it is a compressed ZIP archive, which torch.save does not write")
        _check_byte_order(archive, f"{root}byteorder", sizes)
        size = sizes[f"{root}data.pkl"]
        if size > LARGEST_PICKLE:
            raise ValueError(f"its data.pkl has {size} bytes, over {LARGEST_PICKLE}")
        tensors = check_tensors(Pickles(io.BytesIO(archive.read(f"{root}data.pkl")), "data.pkl").load(), spec)
        arrays = {}
        for key, storage in storages_by_key(tensors).items():
            name = f"{root}data/{key}"
            if name not in sizes:
                raise ValueError(f"it has no member {quote(name)}, the storage of a tensor")
            if sizes[name] != storage.n_bytes:
                raise ValueError(f"storage {quote(key)} has {sizes[name]} bytes, expected {storage.n_bytes}")
            arrays[key] = storage.to_array(archive.read(name))
    return {name: _view(tensor, arrays[tensor.storage.key]) for name, tensor in tensors.items()}


class _ZipFile(io.FileIO):
    """Refuses to be read in large pieces until told otherwise.

    zipfile reads an archive's list of members at once, and makes an object of every 46 bytes.
    """

    largest_read: int | None = LARGEST_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        if self.largest_read is not None and size is not None and size > self.largest_read:
            raise ValueError(f"its list of members has {size} bytes, over {self.largest_read}")
        return super().read(-1 if size is None else size) or b""


def _member_sizes(archive: zipfile.ZipFile) -> dict[str, int]:
    """The members' names and sizes. Raises ValueError if they cannot be read, or a name stands for two."""
    members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise ValueError("it is an encrypted ZIP archive, which torch.save does not write; decrypt it")
    if twice := [quote(name) for name, n in Counter(member.filename for member in members).items() if n > 1]:
        raise ValueError(f"it is a ZIP archive with more than one member of the name {enumerate_names(twice)}")
    return {member.filename: member.file_size for member in members}


def _root(names: list[str]) -> str:
    """The folder of data.pkl, with its slash. Raises ValueError unless there is one, as torch.save writes it."""
    pickles = [name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"]
    if not pickles:
        members = f"its members: {enumerate_names([quote(name) for name in names])}" if names else "it is empty"
        raise ValueError(f"it is a ZIP archive without the data.pkl of torch.save ({members})")
    if len(pickles) > 1:
        found = enumerate_names([quote(name) for name in pickles])
        raise ValueError(f"it is a ZIP archive with {len(pickles)} files data.pkl ({found}), torch.save writes one")
    root = pickles[0].removesuffix("data.pkl")
    if root.count("/") != 1:
        raise ValueError(
            f"it is a ZIP archive with {quote(pickles[0])}; torch.save writes it in one folder, NAME/data.pkl"
        )
    if f"{root}constants.pkl" in names:
        raise ValueError(
            "it is a TorchScript archive of torch.jit.save; save the tensors alone, by "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    return root


def _check_byte_order(archive: zipfile.ZipFile, name: str, sizes: dict[str, int]) -> None:
    """torch wrote no such member before version 2, on machines that were all little-endian."""
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
        raise ValueError(f"it ends in storage {quote(storage.key)}; the file is cut off")
    return data


def _view(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """The tensor in its storage, which it fills, its axes in the order of their strides."""
    order = sorted(range(len(tensor.shape)), key=lambda axis: tensor.strides[axis], reverse=True)
    return array.reshape([tensor.shape[axis] for axis in order]).transpose(np.argsort(order))
