"""Counts the instructions (bundles) in each loop of a TPU kernel, in the schedule that libtpu writes on request.

With `LIBTPU_INIT_ARGS="--xla_jf_dump_to=DIR --xla_jf_dump_llo_text=true"`, compiling writes every kernel's schedule to
DIR/*-final_bundles.txt. A bundle takes a cycle, unless the core has to wait for memory.
"""

import re
from typing import NamedTuple

_BUNDLE = re.compile(r"\s*(0x[0-9a-f]+|0)\s*(L[HBE]|PF)?\s*: (>*)")
_DELAY_SLOTS = 4  # bundles after a branch that are run before it is taken


class Loop(NamedTuple):
    """A loop of the schedule. `depth` is 1 for a loop that is in no other; `own` leaves out the loops inside."""

    first: int
    depth: int
    bundles: int
    own: int


def count_bundles(schedule: str) -> list[Loop]:
    """Returns the loops of a schedule in program order.

    A loop begins where its body is marked, and ends behind the branch back to there.
    """
    begun: dict[str, tuple[int, int]] = {}
    loops = []
    for line in schedule.splitlines():
        if not (bundle := _BUNDLE.match(line)):
            continue
        address = int(bundle[1], 16)
        if bundle[2] == "LB" and (region := re.search(r"Start region (\d+)", line)):
            begun[region[1]] = address, len(bundle[3])
        branch = re.search(r"sbr\.rel .*target = \$region(\d+)", line)
        if branch and branch[1] in begun:
            first, depth = begun.pop(branch[1])
            loops.append(Loop(first, depth, address + 1 + _DELAY_SLOTS - first, 0))
    return [loop._replace(own=loop.bundles - _inside(loop, loops)) for loop in sorted(loops)]


def _inside(loop: Loop, loops: list[Loop]) -> int:
    """The bundles of the loops that are directly inside of a loop."""
    last = loop.first + loop.bundles
    return sum(other.bundles for other in loops if other.depth == loop.depth + 1 and loop.first <= other.first < last)
