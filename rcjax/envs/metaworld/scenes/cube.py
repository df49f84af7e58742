"""The wooden cube of 4 cm, for push-back, sweep, sweep-into and hand-insert.

Fingers grip the cube by its sides and also press on its top, off its middle, and drag it. So the cube is a box with
true faces here, and small spheres stand for a finger's corners.
"""

from rcjax.envs.metaworld.scenes.puck import GRIP_SOLIMP, TABLE, feet, on_table
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, Pair, Proxy, SceneSpec

REST_HEIGHT = 0.0199680253  # metres: where the official cube's centre settles on the official table
HALF_SIZE = 0.02

_RADIUS = 0.002  # rounds a finger's edges


def _finger(side: str, inwards: float) -> tuple[Proxy, ...]:
    """A finger's corners: four at its tip and two of its inner face higher up."""
    corners = [(0.043, y, z) for y in (-0.001, 0.004) for z in (-0.013, 0.013)]
    corners += [(0.019, 0.004, z) for z in (-0.013, 0.013)]
    return tuple(
        Proxy(f"{side}_corner{i}", f"{side}claw", "sphere", (_RADIUS,), (x, inwards * y, z), role="internal")
        for i, (x, y, z) in enumerate(corners)
    )


FINGERS = (*_finger("right", 1.0), *_finger("left", -1.0))


def cube(bottom: float = -HALF_SIZE) -> tuple[Proxy, ...]:
    """The cube, with the hand's spheres; its bottom is `bottom` above the body's origin."""
    box = Proxy("cube", "obj", "box", (HALF_SIZE,) * 3, (0.0, 0.0, bottom + HALF_SIZE), role="internal")
    return (box, *FINGERS, *feet(0.016, bottom))


def gripped(solimp: tuple[float, ...] = GRIP_SOLIMP) -> tuple[Pair, ...]:
    """The fingers against the cube."""
    return tuple(Pair(finger.name, "cube", 3, HAND_FRICTION, MARGIN, solimp=solimp) for finger in FINGERS)


def cube_scene(xml: str, *, bottom: float = -HALF_SIZE, friction: float = 1.0) -> SceneSpec:
    """The cube on a bare table; `friction` is between the two."""
    proxies = cube(bottom)
    pairs = (*gripped(), *on_table(proxies, friction))
    return SceneSpec(xml=xml, placed_bodies=(), proxies=(*proxies, TABLE), extra_pairs=pairs)
