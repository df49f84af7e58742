"""Writes state dicts like torch.save, before and since torch 1.6, but without torch. Tests compare it with torch."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

STORAGES = {"float32": "FloatStorage", "int64": "LongStorage", "float16": "HalfStorage"}


class Global:
    """Is pickled as the name of an importable object, which need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise NotImplementedError  # pickle needs a callable, but does not call it


class Storage:
    """Is pickled by reference; `pid` is the persistent id that torch writes."""

    def __init__(self, *pid):
        self.pid = pid


class Pickler(pickle._Pickler):
    """A pickler for `Global` and `Storage`."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_global_name(self, obj):
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch[Global] = save_global_name

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Storage) else None


class Tensor:
    """Is pickled as a call of torch._utils._rebuild_tensor_v2 with a storage."""

    def __init__(self, storage, array, strides):
        self.arguments = (storage, 0, array.shape, strides, False, OrderedDict())

    def __reduce__(self):
        return Global("torch._utils", "_rebuild_tensor_v2"), self.arguments


def dump(value) -> bytes:
    """Returns the pickle of `value` with protocol 2, which torch uses."""
    file = io.BytesIO()
    Pickler(file, protocol=2).dump(value)
    return file.getvalue()


def pickled_state(state, key_of, legacy) -> bytes:
    tensors = OrderedDict()
    for i, (name, array) in enumerate(state.items()):
        kind = Global("torch", STORAGES[str(array.dtype)])
        storage = Storage("storage", kind, key_of(i), "cpu", array.size, *([None] if legacy else []))
        tensors[name] = Tensor(storage, array, tuple(n // array.itemsize for n in array.strides))
    tensors._metadata = OrderedDict([("", {"version": 1})])  # the state_dict of a module has this attribute
    return dump(tensors)


def raw(array) -> bytes:
    """Returns the elements in their order in memory."""
    return array.transpose(np.argsort(array.strides)[::-1]).tobytes()


def legacy_file(state) -> bytes:
    """Returns magic number, protocol, system, state, sorted keys (as of torch), and each storage after its size."""
    keys = {str(94000000000000 + 64 * i): array for i, array in enumerate(state.values())}
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    parts = [dump(0x1950A86A20F9469CFC6C), dump(1001), dump(system)]
    parts += [pickled_state(state, list(keys).__getitem__, legacy=True), dump(sorted(keys))]
    for key in sorted(keys):
        parts += [np.int64(keys[key].size).tobytes(), raw(keys[key])]
    return b"".join(parts)


def zip_file(state, compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("s3d/data.pkl", pickled_state(state, str, legacy=False))
        archive.writestr("s3d/byteorder", "little")
        for i, array in enumerate(state.values()):
            archive.writestr(f"s3d/data/{i}", raw(array))
        archive.writestr("s3d/version", "3\n")
    return file.getvalue()
