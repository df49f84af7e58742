"""Compares an unpickled value with the expected state dict, and describes any difference in one short line."""

import math
from collections.abc import Collection, Iterator
from typing import Any

from rcjax.messages import ArraySpecs, describe_differences, enumerate_names, quote
from weights_convert.state_pickle import Module, Storage, Tensor

MAX_NAMES_SEARCHED = 1000  # for a common prefix
MAX_PREFIX_LENGTH = 100
MAX_WRAPPING_DEPTH = 3  # levels of dictionaries around a state dict
MAX_MODULE_DEPTH = 10  # levels of modules inside modules; CLIP has 6
MAX_ATTRIBUTE_LENGTH = 100  # characters
OTHER_MODELS = {
    "text_module.word_embd.weight": "S3D; give S3D's vocabulary with it, s3d_dict.npy",
    "visual.class_embedding": "CLIP; give CLIP's vocabulary with it, bpe_simple_vocab_16e6.txt.gz",
    "vision_model.embeddings.class_embedding": "CLIP; give CLIP's vocabulary with it, bpe_simple_vocab_16e6.txt.gz",
}
"""The model that a tensor's name belongs to, and what to do if another model is expected"""


def check_tensors(state: Any, spec: ArraySpecs) -> dict[str, Tensor]:
    """Returns the tensors if they match `spec` and each fills its storage; otherwise raises ValueError (one line)."""
    tensors = require_state_dict(state)
    check_specs({name: (tensor.shape, tensor.storage.dtype) for name, tensor in tensors.items()}, spec)
    check_layouts(tensors)
    return tensors


def require_state_dict(value: Any) -> dict[str, Tensor]:
    """Returns a copy of `value` if it is a dictionary of tensors. Otherwise raises ValueError, which describes it."""
    if not _is_state_dict(value):
        raise ValueError(_describe_unexpected(value))
    return dict(value)


def check_specs(found: ArraySpecs, spec: ArraySpecs) -> None:
    """Raises ValueError if names, shapes or dtypes differ from `spec`; a prefix and another model are named."""
    for name, model in OTHER_MODELS.items():
        if name in found and name not in spec:
            raise ValueError(f"it holds the tensors of {model}")
    _check_prefix(found, spec)
    if problems := describe_differences(found, spec):
        raise ValueError(f"of {len(spec)} tensors expected, {problems}")


def check_layouts(tensors: dict[str, Tensor]) -> None:
    """Raises ValueError unless each tensor fills its storage, in any order of its axes."""
    for name, tensor in tensors.items():
        _check_layout(name, tensor)


def flatten_modules(root: Module) -> dict[str, Tensor]:
    """Returns the tensors of a module and of the modules inside it, by the names of their state dict.

    A module is visited once, because names would grow exponentially in number with modules that hold each other twice.
    Attributes that are neither tensors nor modules, such as `training`, are left out. Raises ValueError if modules are
    nested too deeply, or have names that no module has.
    """
    tensors: dict[str, Tensor] = {}
    seen, level = {id(root)}, [("", root)]
    for _ in range(MAX_MODULE_DEPTH):
        inner = []
        for prefix, module in level:
            for attribute, value in module.attributes.items():
                name = prefix + _checked_attribute(attribute)
                if isinstance(value, Tensor) and tensors.setdefault(name, value) is not value:
                    raise ValueError(f"it holds two tensors of the name {quote(name)}")
                if isinstance(value, Module) and id(value) not in seen:
                    seen.add(id(value))
                    inner.append((f"{name}.", value))
        level = inner
    if level:
        raise ValueError(f"its modules are nested over {MAX_MODULE_DEPTH} levels deep")
    return tensors


def _checked_attribute(name: Any) -> str:
    if type(name) is not str or not 0 < len(name) <= MAX_ATTRIBUTE_LENGTH:
        raise ValueError(f"a module in it has the attribute {_show_key(name)}, which no module has")
    return name


def storages_by_key(tensors: dict[str, Tensor]) -> dict[str, Storage]:
    """Returns the storages of the tensors by key. Raises ValueError if one has two sizes or dtypes."""
    storages: dict[str, Storage] = {}
    for tensor in tensors.values():
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise ValueError(f"it gives storage {quote(tensor.storage.key)} two sizes or dtypes")
    return storages


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(type(n) is str and isinstance(t, Tensor) for n, t in value.items())


def _check_prefix(names: Collection[str], spec: ArraySpecs) -> None:
    """Raises ValueError if most names of `spec` occur with a prefix, as wrappers of a model add it."""
    for name in list(names)[:MAX_NAMES_SEARCHED]:
        for prefix in (name.removesuffix(expected) for expected in spec if name.endswith(expected)):
            if not 0 < len(prefix) <= MAX_PREFIX_LENGTH:
                continue
            n_prefixed = sum(prefix + expected in names for expected in spec)
            if n_prefixed > len(spec) / 2:
                which = (
                    f"all {len(names)}" if all(n.startswith(prefix) for n in names) else f"{n_prefixed} of {len(names)}"
                )
                raise ValueError(
                    f"{which} names begin with {quote(prefix)}, which a wrapper around the model adds; save them "
                    f"without it: {{name.removeprefix({quote(prefix)}): tensor for name, tensor in state.items()}}"
                )


def _describe_unexpected(value: Any) -> str:
    """Describes a `value` that is not a dictionary of names and tensors."""
    if not isinstance(value, dict):
        kind = "a tensor" if isinstance(value, Tensor) else f"a value of type {type(value).__name__}"
        return f"it holds {kind}, not a dictionary of tensors; save torch.save(model.state_dict(), FILE)"
    inside = max(_state_dicts_inside(value), key=lambda found: len(found[1]), default=None)
    if inside is not None:
        path = "".join(f"[{_show_key(key)}]" for key in inside[0])
        return (
            f"its state dict lies inside a dictionary, under {path} (beside it: "
            f"{enumerate_names([_show_key(key) for key in value if key != inside[0][0]]) or 'nothing'}); save that "
            f"alone: torch.save(torch.load(FILE){path}, NEW)"
        )
    others = [_show_key(key) for key, entry in value.items() if type(key) is not str or not isinstance(entry, Tensor)]
    return (
        f"it holds no dictionary of tensors: {len(others)} of its {len(value)} entries are no tensors: "
        + enumerate_names(others)
    )


def _state_dicts_inside(value: dict[Any, Any]) -> Iterator[tuple[tuple[Any, ...], dict[str, Tensor]]]:
    """Yields each nested state dict with the keys that lead to it; every dictionary is visited once."""
    seen, level = {id(value)}, [((), value)]
    for _ in range(MAX_WRAPPING_DEPTH):
        inner = []
        for path, outer in level:
            for key, entry in outer.items():
                if isinstance(entry, dict) and id(entry) not in seen:
                    seen.add(id(entry))
                    inner.append(((*path, key), entry))
        yield from ((path, entry) for path, entry in inner if entry and _is_state_dict(entry))
        level = inner


def _show_key(key: str | int) -> str:
    return quote(key, 30) if isinstance(key, str) else str(key)


def _check_layout(name: str, tensor: Tensor) -> None:
    """Raises ValueError unless the tensor fills its storage, in any order of its axes."""
    filled, axes = 1, sorted(zip(tensor.strides, tensor.shape, strict=True))
    for stride, size in axes:
        if size != 1 and stride != filled:
            break
        filled *= size
    if tensor.offset != 0 or filled != math.prod(tensor.shape) or filled != tensor.storage.size:
        raise ValueError(f"tensor {name} does not fill its storage of {tensor.storage.size} elements")
