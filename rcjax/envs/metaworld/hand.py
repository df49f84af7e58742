"""The gripper's proxies for collision, by the kind of shape that they collide with.

In the hand's frame x points to the fingertips and y across the fingers. A finger, claw and pad together, measures
90 x 9 x 30 mm. Its outer face, which pushes, is 3 mm outwards of the claw's origin and its inner face, which
grasps, 6 mm inwards; spheres and capsules are flush with the outer face and with the tip.

The base, above the fingers, is a part of the last link, `right_hand`. In that link's frame z points down and x to the
robot's left. The base fills x in [-0.024, 0.036], y in [-0.05, 0.05], z in [0.028, 0.078]. If the base were on the
body `hand`, which is massless and turns with it, MuJoCo would make its contacts three times as soft.
"""

from rcjax.envs.scenes import ALONG_X, ALONG_Y, FRICTION, HAND_FRICTION, MARGIN, SOLIMP, Pair, Proxy

HAND_BODIES = ("hand", "right_hand", "rightclaw", "leftclaw")
BASE_SOFTNESS = {"solref": (0.015, 1.0), "solimp": (0.945, 0.97, 0.0055, 0.5, 2.0)}  # the official ones
FIRM_SOLIMP = (0.999, 0.9995, 0.01, 0.5, 2.0)
_OUTER_FACE = 0.003  # metres outwards of the claw's origin
_SIDES = (("right", 1.0), ("left", -1.0))  # and the sign of y towards the other finger


def _flush(inwards: float, radius: float) -> float:
    """Where along y a proxy of this radius lies flush with the finger's outer face."""
    return inwards * (radius - _OUTER_FACE)


FINGERTIPS = tuple(
    Proxy(f"{side}_fingertip", f"{side}claw", "sphere", (0.006,), (0.039, _flush(inwards, 0.006), 0.0), role="internal")
    for side, inwards in _SIDES
)
"""One sphere per finger, for the table"""

FINGER_CORNERS = tuple(
    Proxy(
        f"{side}_finger_corner{i}", f"{side}claw", "sphere", (0.0045,), (x, _flush(inwards, 0.0045), z), role="internal"
    )
    for i, (x, z) in enumerate((x, z) for x in (0.0395, 0.024) for z in (-0.0105, 0.0105))
    for side, inwards in _SIDES
)
"""Four spheres per finger, as thick as the finger, at its tip and 15 mm higher; for boxes, whose edges touch the
finger's edges"""

TIP_CORNERS = FINGER_CORNERS[:4]
"""The two spheres at each tip"""

BASE_CORNERS = tuple(
    Proxy(f"base_corner{i}", "right_hand", "sphere", (0.02,), (x, y, 0.0535), role="internal")
    for i, (x, y) in enumerate((x, y) for x in (-0.004, 0.014) for y in (-0.03, 0.03))
)
"""Four spheres, flush with the base's sides; for boxes"""

_FINGER_CAPSULES = tuple(
    Proxy(f"{side}_finger_capsule{i}", f"{side}claw", "capsule", (0.0065, 0.0385), (0.0, _flush(inwards, 0.0065), z),
          ALONG_X, role="internal")
    for side, inwards in _SIDES
    for i, z in enumerate((-0.0085, 0.0085))
)  # fmt: skip
BASE_CAPSULE = Proxy("base_capsule", "hand", "capsule", (0.027, 0.026), (-0.066, 0.0, -0.008), ALONG_Y, role="internal")
FINGER_BOXES = tuple(
    Proxy(
        f"{side}_finger_box",
        f"{side}claw",
        "box",
        (0.045, 0.0045, 0.015),
        (0.0, _flush(inwards, 0.0045), 0.0),
        role="internal",
    )
    for side, inwards in _SIDES
)

HAND_PROXIES = {
    "box": (*FINGER_CORNERS, *BASE_CORNERS),
    "capsule": (*_FINGER_CAPSULES, BASE_CAPSULE),
    "sphere": FINGER_BOXES,
    "scenery": (*TIP_CORNERS, *BASE_CORNERS),
    "table": FINGERTIPS,
}
"""The hand's proxies against an object's boxes, capsules and spheres, against scenery, and against the table"""


_ROUND_FINGERS = {
    side: tuple(
        Proxy(f"{side}_finger_sphere{i}", f"{side}claw", "sphere", (0.012,), (x, _flush(inwards, 0.012), 0.0),
              role="internal")
        for i, x in enumerate((0.033, 0.0))
    )
    for side, inwards in _SIDES
}  # fmt: skip
PALM = tuple(
    Proxy(f"{side}_base_sphere", "hand", "sphere", (0.03,), (-0.069, -0.023 * inwards, -0.008), role="internal")
    for side, inwards in _SIDES
)
"""Two spheres for the base, on the body `hand`"""

ROUND_HAND_PROXIES = HAND_PROXIES | {
    "box": (*_ROUND_FINGERS["right"], PALM[0], *_ROUND_FINGERS["left"], PALM[1]),
    "scenery": FINGERTIPS,
}
"""A hand of fewer and larger spheres; only its fingertips collide with scenery. See `round_hand_pair`."""


def round_hand_pair(hand: Proxy, other: Proxy) -> Pair:
    """The contact of a proxy of the round hand: with friction on objects, without any on the table and scenery."""
    return Pair(hand.name, other.name, 1 if other.role == "scenery" else 3, HAND_FRICTION, MARGIN)


def hand_pair(hand: Proxy, other: Proxy) -> Pair:
    """The contact of a proxy of the hand with another. The base slides more easily than the fingers' pads.

    Against boxes and planes the fingers' contacts are specified firmer than the official ones: a pyramidal cone makes
    contacts of friction 2 some ten times as soft as the official elliptic one does.
    """
    if other.role == "object" and other.shape != "box":
        return Pair(hand.name, other.name, 3, HAND_FRICTION, MARGIN)
    return contact_pair(hand, other, FIRM_SOLIMP)


def contact_pair(hand: Proxy, other: Proxy, finger_solimp: tuple[float, ...] = SOLIMP) -> Pair:
    """The contact of the base, with the official softness, or of a finger, with `finger_solimp`."""
    if hand.body == "right_hand":
        return Pair(hand.name, other.name, 3, FRICTION, **BASE_SOFTNESS)
    return Pair(hand.name, other.name, 3, HAND_FRICTION, MARGIN, solimp=finger_solimp)
