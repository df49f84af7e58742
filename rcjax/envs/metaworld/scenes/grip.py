"""Fingers for objects that are held.

A finger's inner face is either a box, for round objects, or the four corners of the part of it by the tip, for
boxes: small spheres, so that edges stay sharp.

With a pyramidal friction cone, contacts of friction 2 are ten times as soft as those of friction 1, and the
fingers, which close with some 200 N, go right through. Friction 1 holds what weighs 1 kg or less all the same.
"""

import itertools
from collections.abc import Iterable

from rcjax.envs.scenes import MARGIN, Pair, Proxy

_INNER_FACE = 0.006  # metres inwards of the claw's origin
_HALF_DEPTH = 0.012  # a box thicker outwards than the finger is, so that what goes in deep still comes out inwards
_TIP = 0.045  # metres along the finger
_HALF_WIDTH = 0.015
_CORNER_RADIUS = 0.001
_SIDES = (("right", 1.0), ("left", -1.0))


def _corners(side: str, inwards: float) -> tuple[Proxy, ...]:
    y = inwards * (_INNER_FACE - _CORNER_RADIUS)
    places = itertools.product((_TIP - _CORNER_RADIUS, _TIP - 0.02), (-1.0, 1.0))
    return tuple(
        Proxy(
            f"{side}_jaw_corner{i}", f"{side}claw", "sphere", (_CORNER_RADIUS,),
            (x, y, sign * (_HALF_WIDTH - _CORNER_RADIUS)), role="internal",
        )
        for i, (x, sign) in enumerate(places)
    )  # fmt: skip


def _face(side: str, inwards: float) -> Proxy:
    pos = (0.0, inwards * (_INNER_FACE - _HALF_DEPTH), 0.0)
    return Proxy(f"{side}_jaw", f"{side}claw", "box", (_TIP, _HALF_DEPTH, _HALF_WIDTH), pos, role="internal")


JAWS = tuple(_face(side, inwards) for side, inwards in _SIDES)
"""Boxes: inner face and tip are the fingers'"""
JAW_CORNERS = tuple(corner for side, inwards in _SIDES for corner in _corners(side, inwards))
"""Spheres, four to a finger"""


def grip_pairs(jaws: Iterable[Proxy], names: Iterable[str], friction: float = 1.0) -> tuple[Pair, ...]:
    """Every jaw with every named proxy."""
    return tuple(Pair(jaw.name, name, 3, friction, MARGIN) for name in names for jaw in jaws)
