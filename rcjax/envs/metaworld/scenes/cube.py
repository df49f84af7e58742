"""The wooden cube of 4 cm, for push-back, sweep, sweep-into and hand-insert.

Fingers grip the cube by its sides and also press on its top, off its middle, and drag it. So the cube is a box with
true faces here, and a finger four spheres as thick as it is, by the tip.
"""

from rcjax.envs.metaworld.scenes.puck import TABLE, feet, on_table
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, Pair, Proxy, SceneSpec

REST_HEIGHT = 0.0199680253  # metres: where the official cube's centre settles on the official table
HALF_SIZE = 0.02

_RADIUS = 0.0045  # half of a finger's thickness
_INWARDS = 0.0015  # from the claw's origin to the middle of claw and pad
FINGERS = tuple(
    Proxy(f"{side}_finger_sphere{i}", f"{side}claw", "sphere", (_RADIUS,), (x, sign * _INWARDS, z), role="internal")
    for side, sign in (("right", 1.0), ("left", -1.0))
    for i, (x, z) in enumerate((x, z) for x in (0.0405, 0.0255) for z in (-0.0105, 0.0105))
)


def cube(bottom: float = -HALF_SIZE) -> tuple[Proxy, ...]:
    """The cube, with the hand's spheres; its bottom is `bottom` above the body's origin."""
    box = Proxy("cube", "obj", "box", (HALF_SIZE,) * 3, (0.0, 0.0, bottom + HALF_SIZE), role="internal")
    return (box, *FINGERS, *feet(0.016, bottom))


def gripped() -> tuple[Pair, ...]:
    """The fingers against the cube."""
    return tuple(Pair(finger.name, "cube", 3, HAND_FRICTION, MARGIN) for finger in FINGERS)


def cube_scene(xml: str, *, bottom: float = -HALF_SIZE, friction: float = 1.0) -> SceneSpec:
    """The cube on a bare table; `friction` is between the two."""
    proxies = cube(bottom)
    pairs = (*gripped(), *on_table(proxies, friction))
    return SceneSpec(xml=xml, placed_bodies=(), proxies=(*proxies, TABLE), extra_pairs=pairs)
