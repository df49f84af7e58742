"""Writes modules like torch.jit.save, but without torch. Tests compare the reader with what torch writes, too.

The layout is that of torch 1.7 (OpenAI's ViT-B-32.pt) to 2: the pickle of the outermost module in data.pkl, storages in
data/, and code, constants and a version beside them, of which the code is compressed.
"""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

from tests.weights_convert.torch_writer import STORAGES, Global, Pickler, Storage, Tensor, raw


class ScriptModule:
    """Is pickled as an object of the compiled class `__torch__.NAME` with these attributes."""

    def __init__(self, name, **attributes):
        self.name, self.attributes = name, attributes


class ScriptPickler(Pickler):
    dispatch = Pickler.dispatch.copy()

    def save_module(self, module):
        prefix, _, name = f"__torch__.{module.name}".rpartition(".")
        self.save(Global(prefix, name))
        self.write(pickle.EMPTY_TUPLE + pickle.NEWOBJ)
        self.memoize(module)
        self.save(module.attributes)
        self.write(pickle.BUILD)

    dispatch[ScriptModule] = save_module


def dump(value) -> bytes:
    file = io.BytesIO()
    ScriptPickler(file, protocol=2).dump(value)
    return file.getvalue()


def modules_of(state, extra=None) -> tuple[ScriptModule, list[np.ndarray]]:
    """Returns the nested modules of a state dict, and the storages of their tensors in the order of their keys."""
    root, arrays = ScriptModule("clip.model.CLIP", training=False, _is_full_backward_hook=None), []
    for name, array in (state | (extra or {})).items():
        *path, attribute = name.split(".")
        module = root
        for depth, part in enumerate(path):
            child = ScriptModule(f"clip.model.___torch_mangle_{depth}.{part.upper()}", training=False)
            module = module.attributes.setdefault(part, child)
        kind = Global("torch", STORAGES[str(array.dtype)])
        storage = Storage("storage", kind, str(len(arrays)), "cuda:0", array.size)
        strides = tuple(n // array.itemsize for n in array.strides)
        module.attributes[attribute] = Tensor(storage, array, strides)
        arrays.append(array)
    return root, arrays


def script_file(state, extra=None, root=None, pickled=None, compression=zipfile.ZIP_STORED) -> bytes:
    """Returns the archive; `root` and `pickled` replace the outermost module and its pickle."""
    made, arrays = modules_of(state, extra)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:

        def write(name, data, compress_type=zipfile.ZIP_STORED):
            archive.writestr(f"ViT-B-32/{name}", data, compress_type)

        write("data.pkl", pickled or dump(root or made))
        write("code/__torch__/clip/model.py", "class CLIP(Module):\n" * 100, zipfile.ZIP_DEFLATED)
        write("code/__torch__/clip/model.py.debug_pkl", b"\x80\2)." * 100, zipfile.ZIP_DEFLATED)
        for i, array in enumerate(arrays):
            write(f"data/{i}", raw(array), compression)
        write("constants.pkl", dump((OrderedDict(),)))
        write("constants/0", bytes(8))
        write("version", "2\n")
    return file.getvalue()
