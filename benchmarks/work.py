"""What a compiled program does in one run: FLOPs, bytes moved, and the cycles that the TPU compiler estimates.

XLA's own cost analysis counts a loop's body once. Here a loop counts as often as it runs: the text says how often a
counted loop does, the caller (`Turns`) how often a loop does that depends on data.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterator

import numpy as np

from benchmarks.hlo import Instruction, Program

Turns = dict[tuple[int, ...], float]
"""How often loops that depend on data run: (1, 0) is the first such loop inside the second one, as the program goes"""

_MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota", "partition-id"}
_NO_ARITHMETIC = _MOVES_NOTHING | {
    *("broadcast", "reshape", "transpose", "copy", "copy-start", "copy-done", "concatenate", "pad", "reverse"),
    *("slice", "dynamic-slice", "dynamic-update-slice", "gather", "scatter", "sort", "convert", "bitcast-convert"),
    *("custom-call", "optimization-barrier", "rng-bit-generator"),
    *("all-gather", "all-to-all", "collective-permute"),
}


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


def count_work(program: Program, turns: Turns | None = None) -> Work:
    """Raises ValueError for a loop that depends on data and is not in `turns`."""
    return _Count(program).of_computation("ENTRY", turns or {}, (), itertools.count())


class _Count:
    def __init__(self, program: Program):
        self.computations = program.computations

    def of_computation(self, computation: str, turns: Turns, path: tuple[int, ...], loops: Iterator[int]) -> Work:
        body, total = self.computations[computation], Work()
        for instruction in body.values():
            if instruction.opcode == "while":
                total += self._loop(instruction, turns, path, loops)
            elif instruction.opcode == "conditional":
                branches = [self.of_computation(branch, turns, path, loops) for branch in instruction.branches]
                total += max(branches, key=lambda work: work.matrix_flops + work.other_flops + work.bytes)
            elif instruction.opcode == "call":
                total += self.of_computation(instruction.called("to_apply") or "", turns, path, loops)
            else:
                total += self._own_work(instruction, body)
        return total

    def _loop(self, loop: Instruction, turns: Turns, path: tuple[int, ...], loops: Iterator[int]) -> Work:
        inside = loop.called("body") or ""
        known = self._counted_turns(loop)
        if known is not None:
            return self.of_computation(inside, turns, path, loops).times(known)
        path = (*path, next(loops))
        if path not in turns:
            raise ValueError(f"nothing says how often the loop {path} runs: {loop.line.strip()[-200:]}")
        return self.of_computation(inside, turns, path, itertools.count()).times(turns[path])

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
            case "custom-call":  # a GPU library's workspace comes out too
                return instruction.first_bytes + sum(operand.bytes for operand in operands)
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
