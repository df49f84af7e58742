"""Reads the pickles of torch.save and torch.jit.save as data: no code in them is run, and time and memory are bounded.

A pickle is a program for a small stack machine. `pickletools.genops` disassembles it without running it. `PickleReader`
then executes the few instructions that are needed for dictionaries of tensors, and refuses every other one by name.
For any input, the cost of an instruction is about proportional to its length:

- Keys of dictionaries are strings or integers of 32 bits. Hashing a tuple that repeats itself by reference takes time
  exponential in its depth, and larger integers can be chosen to have the same hash.
- No instruction copies or traverses existing values, with two exceptions: the list of pairs that Python 2 wrote for an
  OrderedDict (each pair counts as one instruction), and the shape of a tensor (which is short).
- Integers have at most 16 bytes, and a file has at most `MAX_INSTRUCTIONS` instructions.
"""

import dataclasses
import pickletools
from collections.abc import Mapping
from typing import Any, BinaryIO, TypeVar

import numpy as np

from rcjax.messages import escape, one_line

T = TypeVar("T")

MAX_INSTRUCTIONS = 100_000  # of one file; the files of S3D and CLIP have about 20,000
MAX_AXES = 8
MAX_INTEGER_BITS = 128  # the magic number of torch.save has 80

ORDERED_DICT = "collections.OrderedDict"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
SCRIPT_CLASS = "__torch__."  # begins the name of every class that TorchScript compiled
SCRIPT_LIST = "torch.jit._pickle."  # begins the names of the functions that make typed lists


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a pickle may hold: storages of the dtypes `storages`, by torch's name, and, if `scripted`, modules."""

    storages: Mapping[str, str]
    scripted: bool = False

    @property
    def dtypes(self) -> list[str]:
        return list(self.storages.values())


STATE_DICT = Rules({"torch.FloatStorage": "float32", "torch.LongStorage": "int64"})
SCRIPTED_MODULE = Rules({**STATE_DICT.storages, "torch.HalfStorage": "float16"}, scripted=True)


@dataclasses.dataclass(frozen=True)
class Global:
    """The name of an importable object, which is not imported."""

    name: str


@dataclasses.dataclass(frozen=True)
class Storage:
    """A flat array in the file, which has not been read yet."""

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
    """A view into a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Module:
    """An object of a TorchScript archive, of which nothing but the attributes is read."""

    def __init__(self) -> None:
        self.attributes: dict[Any, Any] = {}


class PickleReader:
    """Reads consecutive pickles from `file` by `rules`; errors call them `what`."""

    def __init__(self, file: BinaryIO, what: str, rules: Rules = STATE_DICT):
        self._file = file
        self._what = what
        self._rules = rules
        self._instructions_left = MAX_INSTRUCTIONS

    def load(self) -> Any:
        """Returns the next pickle's value.

        It is a str, int, float, bool, None, tuple, list, dict, Global, Storage, Tensor or Module. Raises ValueError if
        the pickle is truncated, damaged or too long, or if it requests anything else.
        """
        machine = _PickleMachine(self._rules)
        instructions = pickletools.genops(self._file)
        while True:
            try:
                opcode, argument, _ = next(instructions)
            except ValueError as error:
                raise ValueError(f"its {self._what} is truncated or damaged ({one_line(str(error), 100)})") from error
            if opcode.name == "STOP":
                break
            try:
                extra = machine.execute(opcode.name, argument)
            except (IndexError, KeyError, TypeError) as error:  # of the stack, the memo or an operand
                raise ValueError(f"its {self._what} is damaged (at the pickle instruction {opcode.name})") from error
            self._instructions_left -= 1 + extra
            if self._instructions_left < 0:
                raise ValueError(
                    f"its {self._what} has over {MAX_INSTRUCTIONS} pickle instructions; real ones have about 20000"
                )
        if len(machine.stack) != 1 or machine.metastack:
            raise ValueError(f"its {self._what} is damaged (it does not end in one value)")
        return machine.stack[0]


class _PickleMachine:
    """The stack, the stacks below each mark, and the memo of values that can be referenced again."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def execute(self, instruction: str, argument: Any) -> int:
        """Executes one instruction, and returns how many additional instructions it counts as.

        Raises ValueError if it is refused, and IndexError, KeyError or TypeError if the pickle is damaged.
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
                self.metastack.append(self.stack)
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
                _expect_type(list, self.stack[-1]).append(item)
            case "APPENDS":
                items = self._pop_to_mark()
                _expect_type(list, self.stack[-1]).extend(items)
            case "EMPTY_DICT":
                push({})
            case "SETITEM":
                value, key = pop(), pop()
                _expect_type(dict, self.stack[-1])[_checked_key(key)] = value
            case "SETITEMS":
                items = self._pop_to_mark()
                _set_items(_expect_type(dict, self.stack[-1]), items[::2], items[1::2])
            case "GLOBAL":
                push(_checked_global(argument.replace(" ", ".", 1), self.rules))
            case "STACK_GLOBAL":
                name, module = _expect_type(str, pop()), _expect_type(str, pop())
                push(_checked_global(f"{module}.{name}", self.rules))
            case "BINPERSID":
                push(_storage(pop(), self.rules))
            case "REDUCE":
                arguments, function = _expect_type(tuple, pop()), _expect_type(Global, pop())
                if function.name == REBUILD_TENSOR:
                    push(_tensor(arguments))
                elif function.name == ORDERED_DICT:
                    pairs = _pairs(arguments)
                    push({})
                    _set_items(self.stack[-1], [pair[0] for pair in pairs], [pair[1] for pair in pairs])
                    return len(pairs)
                elif function.name.startswith(SCRIPT_LIST):
                    push(None)  # a list of numbers or modules, which holds no weights
                else:
                    raise ValueError(f"it calls {function.name}, which is refused")
            case "NEWOBJ" if self.rules.scripted:
                arguments, function = _expect_type(tuple, pop()), _expect_type(Global, pop())
                if arguments or not function.name.startswith(SCRIPT_CLASS):
                    raise ValueError(f"it makes an object of {function.name}, which is refused")
                push(Module())
            case "BUILD" if type(self.stack[-2]) is Module:
                attributes = _expect_type(dict, pop())
                self.stack[-1].attributes = attributes
            case "BUILD":  # attributes that torch pickles with its dictionaries (`_metadata`) are not needed
                pop()
                _expect_type(dict, self.stack[-1])
            case "PROTO" | "FRAME":
                pass
            case _:
                raise ValueError(
                    f"it uses the pickle instruction {instruction}, which is refused: a dictionary of tensors does "
                    "not need it"
                )
        return 0

    def _push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise IndexError
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def _pop_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.metastack.pop()
        return items


def _expect_type(kind: type[T], value: Any) -> T:
    """Returns `value` if its type is `kind`; otherwise raises TypeError."""
    if type(value) is not kind:
        raise TypeError
    return value


def _checked_number(number: int) -> int:
    if number.bit_length() > MAX_INTEGER_BITS:
        raise ValueError(f"it holds an integer of {number.bit_length()} bits, which is refused")
    return number


def _checked_key(key: Any) -> str | int:
    if type(key) is str or (type(key) is int and -(2**31) <= key < 2**31):
        return key
    raise ValueError(f"it has a {type(key).__name__} as a dictionary's key, which is refused: names are strings")


def _set_items(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    if len(keys) != len(values):
        raise TypeError
    target.update(zip(map(_checked_key, keys), values, strict=True))


def _checked_global(name: str, rules: Rules) -> Global:
    if name in (ORDERED_DICT, REBUILD_TENSOR) or name in rules.storages:
        return Global(name)
    if rules.scripted and name.startswith((SCRIPT_CLASS, SCRIPT_LIST)):
        return Global(name)
    model = "model.float()" if name.endswith("Storage") else "model"
    raise ValueError(
        f"it asks for {escape(name)}, which is refused: a dictionary of {_enumerate(rules.dtypes, 'and')} tensors does "
        f"not need it; save only that, by torch.save({model}.state_dict(), FILE)"
    )


def _enumerate(words: list[str], conjunction: str) -> str:
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def _pairs(arguments: tuple[Any, ...]) -> list[Any]:
    """Returns the key-value pairs that an OrderedDict is made of: none, or the list that Python 2 wrote."""
    match arguments:
        case ():
            return []
        case (list(pairs),) if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            return pairs
    raise ValueError(f"it calls {ORDERED_DICT} with arguments that are not pairs, which is refused")


def _storage(reference: Any, rules: Rules) -> Storage:
    """Returns the storage of a persistent id.

    A sixth entry of the id is None, or makes the storage a part of another one; files since torch 1.6 have no sixth
    entry.
    """
    match reference:
        case ("storage", Global(name), str(key), str(), int(size), *part_of) if (
            name in rules.storages and size >= 0 and part_of in ([], [None])
        ):
            return Storage(key, rules.storages[name], size)
    raise ValueError(f"it refers to something other than a whole {_enumerate(rules.dtypes, 'or')} storage")


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    """Returns the tensor of the arguments: storage, offset, shape, strides, whether it requires gradients, and hooks.

    A seventh argument, which would mark the values as negated or conjugated, is refused.
    """
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), _, _) if len(shape) == len(
            strides
        ) <= MAX_AXES and all(type(number) is int and 0 <= number < 2**63 for number in (offset, *shape, *strides)):
            return Tensor(storage, offset, shape, strides)
    raise ValueError("it holds a malformed tensor, or one that is marked as negated or conjugated")
