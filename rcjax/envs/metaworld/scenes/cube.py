"""The wooden cube of 4 cm, for push-back, sweep, sweep-into and hand-insert.

Fingers grip the cube by its sides and also press on its top, off its middle, and drag it. So the cube is a box with
true faces here, and small spheres stand for points of a finger's surface.
"""

from rcjax.envs.metaworld.scenes.puck import feet, table_pairs
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec

REST_HEIGHT = 0.0199680253  # metres: where the official cube's centre settles on the official table
HALF_SIZE = 0.02

_RADIUS = 0.002  # rounds a finger's edges
_HALF_WIDTH = 0.013  # of a finger, to the middle of its corners' spheres
# Like `puck.GRIP_SOLIMP` but a little softer, as a finger has six points: the cube slips as rarely as the official one.
_GRIP_SOLIMP = (0.996, 0.998, 0.01, 0.5, 2.0)


def fingers(across: tuple[float, ...] = (-_HALF_WIDTH, _HALF_WIDTH)) -> tuple[Proxy, ...]:
    """Small spheres at points of both fingers' surfaces.

    They are at the outer corners of the tip, and `across` the width of the inner face at the tip and higher up.
    """
    points = [(0.043, -0.001, z) for z in (-_HALF_WIDTH, _HALF_WIDTH)]
    points += [(x, 0.004, z) for x in (0.043, 0.019) for z in across]
    return tuple(
        Proxy(f"{side}_point{i}", f"{side}claw", "sphere", (_RADIUS,), (x, inwards * y, z), role="internal")
        for side, inwards in (("right", 1.0), ("left", -1.0))
        for i, (x, y, z) in enumerate(points)
    )


def cube(bottom: float = -HALF_SIZE) -> tuple[Proxy, ...]:
    """The cube and its feet; its bottom is `bottom` above the body's origin."""
    box = Proxy("cube", "obj", "box", (HALF_SIZE,) * 3, (0.0, 0.0, bottom + HALF_SIZE), role="internal")
    return (box, *feet(0.016, bottom))


def finger_pairs(points: tuple[Proxy, ...], solimp: tuple[float, ...]) -> tuple[Pair, ...]:
    """Pairs of the fingers' points with the cube."""
    return tuple(Pair(point.name, "cube", 3, HAND_FRICTION, MARGIN, solimp=solimp) for point in points)


def cube_scene(xml: str, *, bottom: float = -HALF_SIZE, friction: float = 1.0) -> SceneSpec:
    """The cube on a bare table, with this friction between the two."""
    proxies, points = cube(bottom), fingers((-_HALF_WIDTH, 0.0, _HALF_WIDTH))
    pairs = (*finger_pairs(points, _GRIP_SOLIMP), *table_pairs(proxies, friction))
    return SceneSpec(xml=xml, placed_bodies=(), proxies=(*proxies, *points, TABLE), extra_pairs=pairs)
