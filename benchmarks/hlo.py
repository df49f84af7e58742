"""What a compiled program does, read from XLA's text of it: FLOPs, bytes moved, estimated cycles, collectives.

XLA's own cost analysis counts a loop's body once. Here a loop counts as often as it runs: the text says how often a
counted loop does, the caller (`Turns`) how often a loop does that depends on data.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

import numpy as np

Turns = dict[tuple[int, ...], float]
"""How often loops that depend on data run: (1, 0) is the first such loop inside the second one, as the program goes"""

_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128, "token": 0, "opaque": 0}
_LINE = re.compile(r"\s*(ROOT )?(%[\w.\-]+) = (.*)$")
_HEAD = re.compile(r"(ENTRY )?(%[\w.\-]+) .*\{$")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
_MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota", "partition-id"}
_NO_ARITHMETIC = _MOVES_NOTHING | {
    *("broadcast", "reshape", "transpose", "copy", "copy-start", "copy-done", "slice", "dynamic-slice", "concatenate"),
    *(
        "dynamic-update-slice",
        "gather",
        "pad",
        "reverse",
        "convert",
        "bitcast-convert",
        "custom-call",
        "scatter",
        "sort",
    ),
    *("optimization-barrier", "rng-bit-generator", "all-gather", "all-to-all", "collective-permute"),
}


@dataclasses.dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # element type and sizes of each array that comes out
    operands: tuple[str, ...]
    line: str

    @property
    def bytes(self) -> float:
        return sum(_element_bytes(kind) * math.prod(sizes) for kind, sizes in self.shapes)

    @property
    def elements(self) -> int:
        return math.prod(self.shapes[0][1]) if self.shapes else 0

    def called(self, role: str) -> str | None:
        """The computation that the instruction names as its body, say."""
        found = re.search(rf"\b{role}=(%[\w.\-]+)", self.line)
        return None if found is None else found[1]

    @property
    def branches(self) -> list[str]:
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.line)
        both = re.findall(r"(?:true|false)_computation=(%[\w.\-]+)", self.line)
        return re.findall(r"%[\w.\-]+", listed[1]) if listed else both


@dataclasses.dataclass(frozen=True)
class Work:
    """What a program does in one run. `matrix_flops` are those of matrix products and convolutions."""

    matrix_flops: float = 0.0
    other_flops: float = 0.0
    bytes: float = 0.0
    cycles: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def times(self, factor: float) -> "Work":
        return Work(*(factor * a for a in dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Collective:
    """`bytes` are what each device has of it afterwards; `source` is JAX's name of the operation."""

    kind: str
    bytes: float
    source: str


class Program:
    """A compiled program's text, taken apart."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        name = ""
        for line in text.splitlines():
            if head := _HEAD.match(line):
                name = "ENTRY" if head[1] else head[2]
                self.computations[name] = {}
            elif found := _LINE.match(line):
                instruction = _parse(found[2], found[3])
                self.computations[name][instruction.name] = instruction

    def work(self, turns: Turns | None = None) -> Work:
        """Raises ValueError for a loop that depends on data and is not in `turns`."""
        return self._work_of("ENTRY", turns or {}, (), _Counter())

    def collectives(self) -> list[Collective]:
        """The largest first. One that is spread over several fusions, to run beside them, counts once."""
        found: dict[str, Collective] = {}
        for instruction in (i for body in self.computations.values() for i in body.values()):
            kind = instruction.opcode.removesuffix("-start")
            if kind in _COLLECTIVES:
                channel = re.search(r"channel_id=\d+", instruction.line)
                source = re.search(r'op_name="([^"]*)"', instruction.line)
                this = Collective(kind, instruction.bytes, source[1] if source else "")
                found.setdefault(channel[0] if channel else instruction.name, this)
        return sorted(found.values(), key=lambda c: -c.bytes)

    def _work_of(self, computation: str, turns: Turns, path: tuple[int, ...], loops: "_Counter") -> Work:
        body, total = self.computations[computation], Work()
        for instruction in body.values():
            if instruction.opcode == "while":
                total += self._loop(instruction, turns, path, loops)
            elif instruction.opcode == "conditional":
                branches = [self._work_of(branch, turns, path, loops) for branch in instruction.branches]
                total += max(branches, key=lambda work: work.matrix_flops + work.other_flops + work.bytes)
            elif instruction.opcode == "call":
                total += self._work_of(instruction.called("to_apply") or "", turns, path, loops)
            else:
                total += self._own_work(instruction, body)
        return total

    def _loop(self, loop: Instruction, turns: Turns, path: tuple[int, ...], loops: "_Counter") -> Work:
        inside = loop.called("body") or ""
        known = self._counted_turns(loop)
        if known is not None:
            return self._work_of(inside, turns, path, loops).times(known)
        path = (*path, loops.next())
        if path not in turns:
            raise ValueError(f"nothing says how often the loop {path} runs: {loop.line.strip()[-200:]}")
        return self._work_of(inside, turns, path, _Counter()).times(turns[path])

    def _counted_turns(self, loop: Instruction) -> float | None:
        """As XLA wrote it down or, where it does not, as the condition says: a counter from 0 below a constant."""
        written = re.search(r"known_trip_count\W+n\W+(\d+)", loop.line)
        if written:
            return float(written[1])
        condition = self.computations[loop.called("condition") or ""]
        *_, root = condition.values()
        constants = [condition[name] for name in root.operands if condition[name].opcode == "constant"]
        if root.opcode != "compare" or "direction=LT" not in root.line or not constants:
            return None
        value = re.search(r"constant\((\d+)\)", constants[0].line)
        return None if value is None else float(value[1])

    def _own_work(self, instruction: Instruction, body: dict[str, Instruction]) -> Work:
        matrix, other = self._flops(instruction, body)
        cycles = sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', instruction.line)))
        return Work(matrix, other, self._bytes(instruction, body), cycles)

    def _flops(self, instruction: Instruction, body: dict[str, Instruction]) -> tuple[float, float]:
        """Those of matrix products, and all others."""
        products = _product_flops(instruction, body)
        if products is not None:
            return products, 0.0
        if instruction.opcode == "fusion":
            inner = self.computations[instruction.called("calls") or ""]
            parts = [self._flops(part, inner) for part in inner.values()]
            return sum(a for a, _ in parts), sum(b for _, b in parts)
        if instruction.opcode in _NO_ARITHMETIC:
            return 0.0, 0.0
        if instruction.opcode in ("reduce", "all-reduce", "reduce-scatter"):
            return 0.0, float(body[instruction.operands[0]].elements)
        if instruction.opcode == "reduce-window":
            return 0.0, float(instruction.elements * math.prod(_window(instruction)))
        return 0.0, float(instruction.elements)

    def _bytes(self, instruction: Instruction, body: dict[str, Instruction]) -> float:
        """Read and written, where every instruction reads its operands from memory; a slice reads what it takes."""
        operands = [body[name] for name in instruction.operands if name in body]
        match instruction.opcode:
            case opcode if opcode in _MOVES_NOTHING or opcode.endswith("-done"):
                return 0.0
            case "slice" | "dynamic-slice" | "gather" | "broadcast":
                return 2 * instruction.bytes
            case "dynamic-update-slice":
                return 2 * operands[1].bytes
            case "scatter":
                return 3 * operands[-1].bytes
            case "fusion":
                return self._fusion_bytes(instruction, operands)
        return instruction.bytes + sum(operand.bytes for operand in operands)

    def _fusion_bytes(self, fusion: Instruction, operands: list[Instruction]) -> float:
        inner = self.computations[fusion.called("calls") or ""]
        parameters = [i for i in inner.values() if i.opcode == "parameter"]
        parameters.sort(key=lambda i: int(re.search(r"parameter\((\d+)\)", i.line)[1]))  # pyright: ignore
        total = fusion.bytes
        for parameter, operand in zip(parameters, operands, strict=False):
            total += _read_of(parameter, operand, inner)
        for update in (i for i in inner.values() if i.opcode == "dynamic-update-slice"):
            total -= update.bytes - inner[update.operands[1]].bytes  # written in place
        return max(total, 0.0)


class _Counter:
    def __init__(self):
        self.count = -1

    def next(self) -> int:
        self.count += 1
        return self.count


def _parse(name: str, rest: str) -> Instruction:
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shapes = tuple((kind, _sizes(sizes)) for kind, sizes in _SHAPE.findall(rest[:end]))
    after = rest[end:].lstrip()
    opcode, start = after[: after.index("(")], after.index("(")
    operands = tuple(re.findall(r"%[\w.\-]+", after[start : _closing(after, start)]))
    return Instruction(name, opcode, shapes, operands, rest)


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise ValueError(f"a bracket does not close: {text[:100]}")


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size)


def _element_bytes(kind: str) -> float:
    return _BITS.get(kind, int((re.search(r"\d+", kind) or [8])[0])) / 8


def _window(instruction: Instruction) -> list[int]:
    found = re.search(r"window=\{size=([\dx]+)", instruction.line)
    return [int(size) for size in found[1].split("x")] if found else []


def _product_flops(instruction: Instruction, body: dict[str, Instruction]) -> float | None:
    """Of a matrix product or convolution, also one that a GPU's library does; None for anything else."""
    line = instruction.line
    if instruction.opcode == "convolution" or "__cudnn$conv" in line:
        return _convolution_flops(instruction, body)
    if instruction.opcode == "dot" or "__cublas$" in line:
        contracted = re.search(r'lhs_contracting_dim(?:ension)?s\W+([\d,"]*)', line)
        sizes = body[instruction.operands[0]].shapes[0][1]
        inner = math.prod(sizes[int(d)] for d in re.findall(r"\d+", contracted[1])) if contracted else 1
        return 2.0 * instruction.elements * inner
    return None


def _convolution_flops(instruction: Instruction, body: dict[str, Instruction]) -> float:
    """Two for every product of an entry of the kernel and one of the input; none with padding or what dilation leaves.

    The TPU compiler writes batched matrix products as such convolutions, the batch being a dilated dimension.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.line)
    assert labels is not None
    x, kernel = (body[name].shapes[0][1] for name in instruction.operands[:2])
    out = instruction.shapes[0][1]
    window = re.search(r"window=\{([^}]*)\}", instruction.line)
    given = dict(part.split("=") for part in window[1].split()) if window else {}
    taps = 1.0
    for dim in sorted(set(labels[2]) - {"i", "o"}):
        default = {"size": "1", "stride": "1", "pad": "0_0", "lhs_dilate": "1", "rhs_dilate": "1"} | given
        of_dim = {name: text.split("x")[min(int(dim), text.count("x"))] for name, text in default.items()}
        numbers = (int(of_dim[name]) for name in ("size", "stride", "lhs_dilate", "rhs_dilate"))
        sizes = (x[labels[1].index(dim)], out[labels[3].index(dim)])
        taps *= _taps(*sizes, *numbers, int(of_dim["pad"].split("_")[0]))
    features = kernel[labels[2].index("i")] * out[labels[3].index("f")]
    return 2.0 * out[labels[3].index("b")] * features * taps


@functools.cache
def _taps(inputs: int, outputs: int, size: int, stride: int, input_step: int, kernel_step: int, pad: int) -> int:
    """Pairs of an output and a kernel's entry, along one dimension, that meet an input."""
    reach = pad - np.arange(size, dtype=np.int64) * kernel_step  # output * stride - reach is the place in the input
    common = math.gcd(stride, input_step)
    period = input_step // common  # every so many outputs one meets an input, not what dilation put between
    first = reach // common * pow(stride // common, -1, period) % period
    low = np.maximum(-(-reach // stride), 0)
    high = np.minimum((inputs * input_step - 1 + reach) // stride, outputs - 1)
    met = (high - first) // period - (low - 1 - first) // period
    return int(met[(reach % common == 0) & (high >= low)].sum())


def _read_of(parameter: Instruction, operand: Instruction, inner: dict[str, Instruction]) -> float:
    """What a fusion reads of an operand: all of it, or what slices take, or nothing of an array updated in place."""
    read = 0.0
    for user in _users(parameter, inner):
        if user.opcode in ("dynamic-slice", "slice", "gather"):
            read += user.bytes
        elif not (user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name):
            return operand.bytes
    return min(read, operand.bytes)


def _users(of: Instruction, inner: dict[str, Instruction]) -> Iterator[Instruction]:
    """Through bitcasts."""
    for user in inner.values():
        if of.name in user.operands:
            if user.opcode == "bitcast":
                yield from _users(user, inner)
            else:
                yield user
