"""Parses the HLO text of a compiled program into computations of instructions, and finds its collectives."""

import dataclasses
import math
import re

_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128, "token": 0, "opaque": 0}
_LINE = re.compile(r"\s*(ROOT )?(%[\w.\-]+) = (.*)$")
_HEAD = re.compile(r"(ENTRY )?(%[\w.\-]+) .*\{$")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One HLO instruction. `line` is its text after the equals sign."""

    name: str
    opcode: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # element type and sizes of each output array
    operands: tuple[str, ...]
    line: str

    @property
    def bytes(self) -> float:
        return sum(_element_bytes(kind) * math.prod(sizes) for kind, sizes in self.shapes)

    @property
    def first_bytes(self) -> float:
        """The bytes of the first output array."""
        return dataclasses.replace(self, shapes=self.shapes[:1]).bytes

    @property
    def elements(self) -> int:
        return math.prod(self.shapes[0][1]) if self.shapes else 0

    def called(self, role: str) -> str | None:
        """Returns the computation that the instruction names for this role, such as `body` or `condition`."""
        found = re.search(rf"\b{role}=(%[\w.\-]+)", self.line)
        return None if found is None else found[1]

    @property
    def branches(self) -> list[str]:
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.line)
        both = re.findall(r"(?:true|false)_computation=(%[\w.\-]+)", self.line)
        return re.findall(r"%[\w.\-]+", listed[1]) if listed else both


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective. `bytes` is the size of its result on each device, and `source` JAX's name of the operation."""

    kind: str
    bytes: float
    source: str


class Program:
    """The computations of a compiled program, parsed from its HLO text. The main one has the name ENTRY."""

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

    def collectives(self) -> list[Collective]:
        """Returns the collectives, the largest first.

        A collective that is spread over several fusions, so that it runs in parallel with them, counts once.
        """
        found: dict[str, Collective] = {}
        for instruction in (i for body in self.computations.values() for i in body.values()):
            kind = instruction.opcode.removesuffix("-start")
            if kind in _COLLECTIVES:
                channel = re.search(r"channel_id=\d+", instruction.line)
                source = re.search(r'op_name="([^"]*)"', instruction.line)
                starts = (
                    instruction.opcode.endswith("-start") and kind != "all-reduce"
                )  # its shapes include the operands
                results = instruction.shapes[len(instruction.shapes) // 2 :] if starts else instruction.shapes
                n_bytes = dataclasses.replace(instruction, shapes=results).bytes
                this = Collective(kind, n_bytes, source[1] if source else "")
                found.setdefault(channel[0] if channel else instruction.name, this)
        return sorted(found.values(), key=lambda c: -c.bytes)


def _parse(name: str, rest: str) -> Instruction:
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shapes = tuple((kind, _sizes(sizes)) for kind, sizes in _SHAPE.findall(rest[:end]))
    after = rest[end:].lstrip()
    opcode, start = after[: after.index("(")], after.index("(")
    operands = tuple(re.findall(r"%[\w.\-]+", after[start : _closing(after, start)]))
    return Instruction(name, opcode, shapes, operands, rest)


def _closing(text: str, start: int) -> int:
    """Returns the index of the bracket that closes the one at `start`."""
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
