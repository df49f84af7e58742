"""The base class of all named states and batches: `chex.dataclass`, so that type checkers see its constructor."""

import dataclasses
from typing import Any, TypeVar, cast, dataclass_transform

import chex

# `typing.Self` would do, but jaxtyping has beartype check methods one by one, where it does not know the class.
SomePyTree = TypeVar("SomePyTree", bound="PyTree")


@dataclass_transform(frozen_default=True, kw_only_default=True)
class PyTree:
    """Subclasses are frozen dataclasses with keyword-only constructors, and JAX pytrees of their fields.

    JAX transformations rebuild instances without calling the constructor. Where jaxtyping checks annotations at run
    time, it therefore checks what is constructed, and `jax.vmap` and `jax.lax.scan` may still pass tracers.

    Example:
        class Point(PyTree):
            x: Float[Array, ""]
            y: Float[Array, ""]

        doubled = jax.tree.map(lambda leaf: 2 * leaf, Point(x=x, y=y))
        raised = doubled.replace(y=y + 1)
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        chex.dataclass(cls, frozen=True, kw_only=True, mappable_dataclass=False)
        cast(Any, cls).replace = PyTree.replace  # chex's calls the constructor, which would check types

    def replace(self: SomePyTree, **changes: Any) -> SomePyTree:
        """Returns a copy with the named fields changed. Their types are not checked.

        Raises TypeError for a name that is no field.
        """
        return self.of_leaves(**self.__dict__ | changes)

    @classmethod
    def of_leaves(cls: type[SomePyTree], **leaves: Any) -> SomePyTree:
        """Returns an instance of anything else than JAX arrays: NumPy arrays, shardings. Types are not checked.

        Raises TypeError for a field without a default that is missing, and for a name that is no field.
        """
        instance = object.__new__(cls)
        for field in dataclasses.fields(cast(Any, cls)):
            if field.name not in leaves and field.default is dataclasses.MISSING:
                raise TypeError(f"{cls.__name__}.of_leaves() is missing {field.name!r}.")
            object.__setattr__(instance, field.name, leaves.pop(field.name, field.default))
        if leaves:
            raise TypeError(f"{cls.__name__}.of_leaves() got {sorted(leaves)}, which are no fields.")
        return instance
