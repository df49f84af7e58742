"""How many kernels a program that is compiled for a GPU launches, by loop."""

import dataclasses
import re
from collections.abc import Iterator

from benchmarks.hlo import Instruction, Program

# Operations that launch nothing: they name memory, or stand for what is inside of them.
_NO_LAUNCH = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "opt-barrier"),
    *("while", "conditional", "call", "async-done", "copy-done", "all-reduce-done", "all-gather-done"),
}


@dataclasses.dataclass(frozen=True)
class LoopLaunches:
    """The kernels that one turn of a loop launches outside of the loops in it.

    Args:
        path: The loop's place: (1, 0) is the first loop inside the second one; () is the program.
        source: The last part of JAX's name of the loop.
        trips: How often it runs each time that it is reached, if XLA knows; None if a test on the host decides.
        launches: Kernels, copies and library calls of a turn.
    """

    path: tuple[int, ...]
    source: str
    trips: int | None
    launches: int


def count_launches(program: Program) -> list[LoopLaunches]:
    """Returns the launches of the program and of all its loops, each loop after the one that it is in.

    Of a conditional, the branch with the most launches counts.
    """
    return list(_walk(program, "ENTRY", (), "program", 1))


def _walk(
    program: Program, computation: str, path: tuple[int, ...], source: str, trips: int | None
) -> Iterator[LoopLaunches]:
    launches, loops = _body(program, computation)
    yield LoopLaunches(path, source, trips, launches)
    for i, loop in enumerate(loops):
        yield from _walk(program, loop.called("body") or "", (*path, i), _source(loop), _trips(loop))


def _body(program: Program, computation: str) -> tuple[int, list[Instruction]]:
    """Returns the launches of a computation outside of its loops, and its loops."""
    launches, loops = 0, []
    for instruction in program.computations.get(computation, {}).values():
        if instruction.opcode == "while":
            loops.append(instruction)
        elif instruction.opcode in ("conditional", "call"):
            called = instruction.branches or [instruction.called("to_apply") or ""]
            inside = max((_body(program, name) for name in called), key=lambda found: found[0])
            launches, loops = launches + inside[0], loops + inside[1]
        elif instruction.opcode not in _NO_LAUNCH:
            launches += 1
    return launches, loops


def _source(loop: Instruction) -> str:
    found = re.search(r'op_name="([^"]*)"', loop.line)
    return "/".join(found[1].split("/")[-3:]) if found else ""


def _trips(loop: Instruction) -> int | None:
    found = re.search(r"known_trip_count\W+n\W+(\d+)", loop.line)
    return int(found[1]) if found else None
