"""Counts what a compiled program does in one run: FLOPs, bytes moved, and the cycles that the TPU compiler estimates.

XLA's own cost analysis counts the body of a loop once. Here it counts as often as the loop runs: the HLO text states
the trip count of a counted loop, and the caller (`TripCounts`) that of a loop that depends on data.
"""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Iterator

import numpy as np

from benchmarks.hlo import Instruction, Program

TripCounts = dict[tuple[int, ...], float]
"""Trip counts of loops that depend on data, in program order: (1, 0) is the first such loop inside the second one."""

_MOVES_NOTHING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "iota", "partition-id"}
_NO_ARITHMETIC = _MOVES_NOTHING | {
    *("broadcast", "reshape", "transpose", "copy", "copy-start", "copy-done", "concatenate", "pad", "reverse"),
    *("slice", "dynamic-slice", "dynamic-update-slice", "gather", "scatter", "sort", "convert", "bitcast-convert"),
    *("custom-call", "optimization-barrier", "rng-bit-generator"),
    *("all-gather", "all-to-all", "collective-permute"),
}


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one run. `matrix_flops` counts matrix products and convolutions, `other_flops` everything else."""

    matrix_flops: float = 0.0
    other_flops: float = 0.0
    bytes: float = 0.0
    cycles: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def times(self, factor: float) -> "Work":
        return Work(*(factor * a for a in dataclasses.astuple(self)))


def count_work(program: Program, trip_counts: TripCounts | None = None) -> Work:
    """Returns the work of one run. Raises ValueError for a loop that depends on data and is not in `trip_counts`."""
    return _WorkCounter(program).computation_work("ENTRY", trip_counts or {}, (), itertools.count())


class _WorkCounter:
    def __init__(self, program: Program):
        self.computations = program.computations

    def computation_work(
        self, computation: str, trip_counts: TripCounts, path: tuple[int, ...], loops: Iterator[int]
    ) -> Work:
        body, total = self.computations[computation], Work()
        for instruction in body.values():
            if instruction.opcode == "while":
                total += self._loop_work(instruction, trip_counts, path, loops)
            elif instruction.opcode == "conditional":
                branches = [self.computation_work(branch, trip_counts, path, loops) for branch in instruction.branches]
                total += max(branches, key=lambda work: work.matrix_flops + work.other_flops + work.bytes)
            elif instruction.opcode == "call":
                total += self.computation_work(instruction.called("to_apply") or "", trip_counts, path, loops)
            else:
                total += self._own_work(instruction, body)
        return total

    def _loop_work(
        self, loop: Instruction, trip_counts: TripCounts, path: tuple[int, ...], loops: Iterator[int]
    ) -> Work:
        inside = loop.called("body") or ""
        trip_count = self._known_trip_count(loop)
        if trip_count is not None:
            return self.computation_work(inside, trip_counts, path, loops).times(trip_count)
        path = (*path, next(loops))
        if path not in trip_counts:
            raise ValueError(f"the trip count of loop {path} is unknown: {loop.line.strip()[-200:]}")
        return self.computation_work(inside, trip_counts, path, itertools.count()).times(trip_counts[path])

    def _known_trip_count(self, loop: Instruction) -> float | None:
        """Returns the trip count that XLA states, or else that of a counter from 0 below a constant, or else None."""
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
        """Returns the FLOPs of matrix products, and all other FLOPs."""
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
        """Returns the bytes read and written if every instruction reads its operands from memory.

        A slice only reads the part that it takes.
        """
        operands = [body[name] for name in instruction.operands if name in body]
        match instruction.opcode:
            case opcode if opcode in _MOVES_NOTHING or opcode.endswith("-done"):
                return 0.0
            case "slice" | "dynamic-slice" | "gather" | "broadcast":
                return 2 * instruction.bytes
            case "dynamic-update-slice":
                return 2 * operands[1].bytes
            case "custom-call":  # the workspace of a GPU library is an output too
                return instruction.first_bytes + sum(operand.bytes for operand in operands)
            case "scatter":
                return 3 * operands[-1].bytes
            case "fusion":
                return self._fusion_bytes(instruction, operands)
        return instruction.bytes + sum(operand.bytes for operand in operands)

    def _fusion_bytes(self, fusion: Instruction, operands: list[Instruction]) -> float:
        inner = self.computations[fusion.called("calls") or ""]
        parameters = [i for i in inner.values() if i.opcode == "parameter"]
        parameters.sort(key=_parameter_number)
        total = fusion.bytes
        for parameter, operand in zip(parameters, operands, strict=False):
            total += _bytes_read(parameter, operand, inner)
        for update in (i for i in inner.values() if i.opcode == "dynamic-update-slice"):
            total -= update.bytes - inner[update.operands[1]].bytes  # it is written in place
        return max(total, 0.0)


def _parameter_number(parameter: Instruction) -> int:
    found = re.search(r"parameter\((\d+)\)", parameter.line)
    assert found is not None
    return int(found[1])


def _window(instruction: Instruction) -> list[int]:
    found = re.search(r"window=\{size=([\dx]+)", instruction.line)
    return [int(size) for size in found[1].split("x")] if found else []


def _product_flops(instruction: Instruction, body: dict[str, Instruction]) -> float | None:
    """Returns the FLOPs of a matrix product or convolution, also by a GPU library, and None for anything else."""
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
    """Returns two FLOPs for each product of a kernel entry and an input entry, without padding and dilation holes.

    The TPU compiler writes batched matrix products as such convolutions, with the batch as a dilated dimension.
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
        dim_window = {name: text.split("x")[min(int(dim), text.count("x"))] for name, text in default.items()}
        numbers = (int(dim_window[name]) for name in ("size", "stride", "lhs_dilate", "rhs_dilate"))
        sizes = (x[labels[1].index(dim)], out[labels[3].index(dim)])
        taps *= _taps(*sizes, *numbers, int(dim_window["pad"].split("_")[0]))
    features = kernel[labels[2].index("i")] * out[labels[3].index("f")]
    return 2.0 * out[labels[3].index("b")] * features * taps


@functools.cache
def _taps(inputs: int, outputs: int, size: int, stride: int, input_step: int, kernel_step: int, pad: int) -> int:
    """Counts the pairs of an output and a kernel entry, along one dimension, that fall on an input."""
    reach = (
        pad - np.arange(size, dtype=np.int64) * kernel_step
    )  # the position in the dilated input is output * stride - reach
    common = math.gcd(stride, input_step)
    period = input_step // common  # one of so many outputs falls on an input instead of a dilation hole
    first = reach // common * pow(stride // common, -1, period) % period
    low = np.maximum(-(-reach // stride), 0)
    high = np.minimum((inputs * input_step - 1 + reach) // stride, outputs - 1)
    met = (high - first) // period - (low - 1 - first) // period
    return int(met[(reach % common == 0) & (high >= low)].sum())


def _bytes_read(parameter: Instruction, operand: Instruction, inner: dict[str, Instruction]) -> float:
    """Returns the bytes that a fusion reads of an operand: all, the parts in slices, or none if updated in place."""
    read = 0.0
    for user in _users(parameter, inner):
        if user.opcode in ("dynamic-slice", "slice", "gather"):
            read += user.bytes
        elif not (user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name):
            return operand.bytes
    return min(read, operand.bytes)


def _users(of: Instruction, inner: dict[str, Instruction]) -> Iterator[Instruction]:
    """Yields the users of an instruction, and looks through bitcasts."""
    for user in inner.values():
        if of.name in user.operands:
            if user.opcode == "bitcast":
                yield from _users(user, inner)
            else:
                yield user
