"""Proxies of the fingers for objects that are grasped.

A finger's inner face is a box against spheres, or its two long edges against bars across it. Against boxes it is small
spheres at the four corners of the part near the tip, so that edges stay sharp.

With a pyramidal friction cone, contacts of friction 2 are ten times as soft as those of friction 1, and the fingers,
which close with some 200 N, penetrate objects completely. Friction 1 still holds what weighs 1 kg or less.
"""

import itertools
from collections.abc import Iterable, Sequence

from rcjax.envs.metaworld.hand import BASE_CAPSULE
from rcjax.envs.scenes import ALONG_X, MARGIN, SOLIMP, Pair, Proxy

_INNER_FACE = 0.006  # metres inwards of the claw's origin
_HALF_DEPTH = 0.012  # the box extends outwards beyond the finger, so that even deep penetration is pushed out inwards
_TIP = 0.045  # metres along the finger
_HALF_WIDTH = 0.015
_CORNER_RADIUS = 0.001
_EDGE_RADIUS = 0.003
TORSION = 0.1  # metres, as the official finger pads have it
SOFT_SOLIMP = (0.97, 0.99, 0.01, 0.5, 2.0)  # between an official finger pad's and a harder object's
_SIDES = (("right", 1.0), ("left", -1.0))


def jaw_corners(levels: Sequence[float]) -> tuple[Proxy, ...]:
    """Spheres on the inner faces' long edges, two per finger and level. `levels` are metres up from the tip."""
    return tuple(corner for side, inwards in _SIDES for corner in _corners(side, inwards, levels))


def _corners(side: str, inwards: float, levels: Sequence[float]) -> tuple[Proxy, ...]:
    y = inwards * (_INNER_FACE - _CORNER_RADIUS)
    places = itertools.product((_TIP - max(level, _CORNER_RADIUS) for level in levels), (-1.0, 1.0))
    return tuple(
        Proxy(
            f"{side}_jaw_corner{i}", f"{side}claw", "sphere", (_CORNER_RADIUS,),
            (x, y, sign * (_HALF_WIDTH - _CORNER_RADIUS)), role="internal",
        )
        for i, (x, sign) in enumerate(places)
    )  # fmt: skip


def _edges(side: str, inwards: float) -> tuple[Proxy, ...]:
    y = inwards * (_INNER_FACE - _EDGE_RADIUS)
    return tuple(
        Proxy(
            f"{side}_jaw_edge{i}", f"{side}claw", "capsule", (_EDGE_RADIUS, _TIP - _EDGE_RADIUS),
            (0.0, y, sign * (_HALF_WIDTH - _EDGE_RADIUS)), ALONG_X, role="internal",
        )
        for i, sign in enumerate((-1.0, 1.0))
    )  # fmt: skip


def _face(side: str, inwards: float) -> Proxy:
    pos = (0.0, inwards * (_INNER_FACE - _HALF_DEPTH), 0.0)
    return Proxy(f"{side}_jaw", f"{side}claw", "box", (_TIP, _HALF_DEPTH, _HALF_WIDTH), pos, role="internal")


JAWS = tuple(_face(side, inwards) for side, inwards in _SIDES)
"""Boxes whose inner face and tip are those of the fingers"""
JAW_EDGES = tuple(edge for side, inwards in _SIDES for edge in _edges(side, inwards))
"""Capsules, two to a finger"""
JAW_CORNERS = jaw_corners((0.0, 0.02))
PALM_BAR = BASE_CAPSULE
"""A capsule"""


def grip_pairs(
    jaws: Iterable[Proxy],
    names: Iterable[str],
    friction: float = 1.0,
    torsion: float = TORSION,
    solimp: tuple[float, ...] = SOLIMP,
) -> tuple[Pair, ...]:
    """Pairs of every jaw with every proxy named."""
    return tuple(
        Pair(jaw.name, name, condim=4, friction=friction, margin=MARGIN, torsion=torsion, solimp=solimp)
        for name in names
        for jaw in jaws
    )
