"""Reads the pickles of a torch.save file as data: nothing in them is run, and work and memory are bounded.

A pickle is a program for a small machine with a stack. `pickletools.genops` takes it apart without running it;
`Pickles` then follows the few instructions that dictionaries of tensors are written with, and refuses every other one
by name.
Whatever the bytes, an instruction costs about as much as it is long:

- Keys of dictionaries are strings or numbers of 32 bits. The hash of a tuple that repeats itself by reference takes
  time exponential in its depth, and larger numbers can be chosen to have one hash.
- No instruction copies or looks through what is there already, except for the list of pairs that Python 2 wrote for an
  OrderedDict (its length counts as so many instructions), and a tensor's shape (it is short).
- Numbers have at most 16 bytes, and there are at most `MOST_INSTRUCTIONS`.
"""

import dataclasses
import pickletools
from typing import Any, BinaryIO

import numpy as np

from rcjax.messages import escape, one_line

MOST_INSTRUCTIONS = 100_000  # of one file; that of S3D has about 20,000
MOST_AXES = 8
MOST_BITS = 128  # of a number; the magic number of torch.save has 80

ORDERED_DICT = "collections.OrderedDict"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
STORAGE_DTYPES = {"torch.FloatStorage": "float32", "torch.LongStorage": "int64"}


@dataclasses.dataclass(frozen=True)
class Global:
    """The name of something importable, which is not imported."""

    name: str


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


class Pickles:
    """The pickles that follow one another in `file`; `what` names them in errors."""

    def __init__(self, file: BinaryIO, what: str):
        self._file = file
        self._what = what
        self._instructions_left = MOST_INSTRUCTIONS

    def load(self) -> Any:
        """The value of the next pickle: str, int, float, bool, None, tuple, list, dict, Global, Storage or Tensor.

        Raises ValueError if it is cut off, damaged or too long, or asks for anything else.
        """
        machine = _Machine()
        instructions = pickletools.genops(self._file)
        while True:
            try:
                opcode, argument, _ = next(instructions)
            except ValueError as error:
                raise ValueError(f"its {self._what} is cut off or damaged ({one_line(str(error), 100)})") from error
            if opcode.name == "STOP":
                break
            try:
                extra = machine.execute(opcode.name, argument)
            except (IndexError, KeyError, TypeError) as error:  # of the stack, the memo, an operand
                raise ValueError(f"its {self._what} is damaged (at the pickle instruction {opcode.name})") from error
            self._instructions_left -= 1 + extra
            if self._instructions_left < 0:
                raise ValueError(
                    f"its {self._what} has over {MOST_INSTRUCTIONS} pickle instructions, S3D's about 20000"
                )
        if len(machine.stack) != 1 or machine.marked:
            raise ValueError(f"its {self._what} is damaged (it does not end in one value)")
        return machine.stack[0]


class _Machine:
    """The stack, the stacks below each mark, and the values kept for use by reference."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def execute(self, instruction: str, argument: Any) -> int:
        """Follows one instruction; the result is how many more it counts as.

        Raises ValueError for what is refused, IndexError, KeyError or TypeError for what is damaged.
        """
        push, pop = self.stack.append, self.stack.pop
        match instruction:
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8" | "SHORT_BINSTRING" | "BINSTRING":
                push(argument)
            case "BININT" | "BININT1" | "BININT2" | "BINFLOAT":
                push(argument)
            case "LONG1":
                push(_checked_number(argument))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[instruction])
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "EMPTY_TUPLE":
                push(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self._push_tuple(int(instruction[-1]))
            case "TUPLE":
                items = self._pop_to_mark()
                self.stack.append(tuple(items))
            case "EMPTY_LIST":
                push([])
            case "APPEND":
                item = pop()
                _as(list, self.stack[-1]).append(item)
            case "APPENDS":
                items = self._pop_to_mark()
                _as(list, self.stack[-1]).extend(items)
            case "EMPTY_DICT":
                push({})
            case "SETITEM":
                value, key = pop(), pop()
                _as(dict, self.stack[-1])[_checked_key(key)] = value
            case "SETITEMS":
                items = self._pop_to_mark()
                _set_items(_as(dict, self.stack[-1]), items[::2], items[1::2])
            case "GLOBAL":
                push(_checked_global(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                name, module = _as(str, pop()), _as(str, pop())
                push(_checked_global(f"{module}.{name}"))
            case "BINPERSID":
                push(_storage(pop()))
            case "REDUCE":
                arguments, function = _as(tuple, pop()), _as(Global, pop())
                if function.name == REBUILD_TENSOR:
                    push(_tensor(arguments))
                elif function.name == ORDERED_DICT:
                    pairs = _pairs(arguments)
                    push({})
                    _set_items(self.stack[-1], [pair[0] for pair in pairs], [pair[1] for pair in pairs])
                    return len(pairs)
                else:
                    raise ValueError(f"it calls {function.name}, which is refused")
            case "BUILD":  # torch pickles attributes with its dictionaries (`_metadata`), which are not needed
                pop()
                _as(dict, self.stack[-1])
            case "PROTO" | "FRAME":
                pass
            case _:
                raise ValueError(
                    f"it uses the pickle instruction {instruction}, which is refused: a dictionary of tensors needs "
                    "no such thing"
                )
        return 0

    def _push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def _pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items


def _as(kind: type, value: Any) -> Any:
    """`value`, which must be a `kind`."""
    if type(value) is not kind:
        raise TypeError
    return value


def _checked_number(number: int) -> int:
    if number.bit_length() > MOST_BITS:
        raise ValueError(f"it holds a number of {number.bit_length()} bits, which is refused")
    return number


def _checked_key(key: Any) -> str | int:
    if type(key) is str or (type(key) is int and -(2**31) <= key < 2**31):
        return key
    raise ValueError(f"it has a {type(key).__name__} as a dictionary's key, which is refused: names are strings")


def _set_items(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    if len(keys) != len(values):
        raise TypeError
    target.update(zip(map(_checked_key, keys), values, strict=True))


def _checked_global(name: str) -> Global:
    if name in (ORDERED_DICT, REBUILD_TENSOR) or name in STORAGE_DTYPES:
        return Global(name)
    model = "model.float()" if name.endswith("Storage") else "model"
    raise ValueError(
        f"it asks for {escape(name)}, which is refused: a dictionary of float32 and int64 tensors needs no such thing; "
        f"save that alone, by torch.save({model}.state_dict(), FILE)"
    )


def _pairs(arguments: tuple[Any, ...]) -> list[Any]:
    """The keys and values that an OrderedDict is made of: none, or Python 2's list of them."""
    match arguments:
        case ():
            return []
        case (list(pairs),) if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            return pairs
    raise ValueError(f"it calls {ORDERED_DICT} with something else than pairs, which is refused")


def _storage(reference: Any) -> Storage:
    """A sixth entry of the reference is None, or makes the storage a part of another; since torch 1.6 there is none."""
    match reference:
        case ("storage", Global(name), str(key), str(), int(size), *part_of) if (
            name in STORAGE_DTYPES and size >= 0 and part_of in ([], [None])
        ):
            return Storage(key, STORAGE_DTYPES[name], size)
    raise ValueError("it refers to something else than a whole float32 or int64 storage")


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    """Of storage, offset, shape, strides, whether gradients are wanted, and hooks.

    A seventh argument would say that the values are to be negated or conjugated.
    """
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _) if len(shape) == len(
            strides
        ) <= MOST_AXES and all(type(number) is int and 0 <= number < 2**63 for number in (offset, *shape, *strides)):
            return Tensor(storage, offset, shape, strides)
    raise ValueError("it holds a malformed tensor, or one that is marked as negated or conjugated")
