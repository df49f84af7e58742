"""Further proxies of the hand, for what its edges and its base push: internal, so that a scene pairs them itself.

The base, above the fingers, is a part of the last link, `right_hand`, in whose frame z points down and x to the
robot's left. It fills x in [-0.024, 0.036], y in [-0.05, 0.05], z in [0.028, 0.078]. On the body `hand`, which is
massless and turns with it, MuJoCo would make its contacts three times as soft.
"""

from collections.abc import Iterable

from rcjax.envs.scenes import ALONG_X, ALONG_Y, FRICTION, HAND_FRICTION, MARGIN, Pair, Proxy

_BASE_SOFTNESS = {"solref": (0.015, 1.0), "solimp": (0.945, 0.97, 0.0055, 0.5, 2.0)}  # the official ones
FIRM_SOLIMP = (0.999, 0.9995, 0.01, 0.5, 2.0)
_CLAWS = (("right", 0.0015), ("left", -0.0015))  # and the middle of a finger's thickness in the claw's frame

FINGER_EDGES = tuple(
    Proxy(f"{side}_edge{i}", f"{side}claw", "capsule", (0.0045, 0.0405), (0.0, y, z), ALONG_X, role="internal")
    for side, y in _CLAWS
    for i, z in enumerate((-0.0105, 0.0105))
)
"""Two capsules to a finger, flush with its faces and its tip; for an object's capsules and spheres"""

FINGER_TIPS = tuple(
    Proxy(f"{side}_tip", f"{side}claw", "capsule", (0.0045, 0.0105), (0.0405, y, 0.0), role="internal")
    for side, y in _CLAWS
)
"""A capsule along each tip's length, for bars that the tips come down on"""

FINGER_CORNERS = tuple(
    Proxy(f"{side}_corner{i}", f"{side}claw", "sphere", (0.0045,), (x, y, z), role="internal")
    for side, y in _CLAWS
    for i, (x, z) in enumerate((x, z) for x in (0.0395, 0.024) for z in (-0.0105, 0.0105))
)
"""Four spheres to a finger, at its tip and 15 mm higher, flush with its faces; for an object's boxes"""

BASE_RIGHT = tuple(
    Proxy(f"base_right{i}", "right_hand", "capsule", (0.008, 0.042), (x, 0.0, z), ALONG_Y, role="internal")
    for i, (x, z) in enumerate(((-0.0155, 0.0365), (-0.014, 0.0665)))
)
BASE_LEFT = tuple(
    Proxy(f"base_left{i}", "right_hand", "capsule", (0.008, 0.042), (x, 0.0, z), ALONG_Y, role="internal")
    for i, (x, z) in enumerate(((0.033, 0.0365), (0.022, 0.0665)))
)
"""The upper and the lower edge of the base's right and left side; for an object's capsules and spheres"""

BASE_BOX = Proxy("base_box", "right_hand", "box", (0.029, 0.05, 0.0255), (0.005, 0.0, 0.0535), role="internal")
"""For an object's spheres"""


def touching(
    hand: Iterable[Proxy], objects: Iterable[Proxy], finger_solimp: tuple[float, ...] = FIRM_SOLIMP
) -> tuple[Pair, ...]:
    """Pairs of each proxy of the hand with each object's. The base slides more easily than the fingers' pads.

    By default the fingers' contacts are given as firmer than they are: a pyramidal cone makes those of friction 2
    some ten times as soft as the official elliptic one does.
    """
    objects = tuple(objects)
    return tuple(
        Pair(proxy.name, other.name, 3, FRICTION, **_BASE_SOFTNESS)
        if proxy.body == "right_hand"
        else Pair(proxy.name, other.name, 3, HAND_FRICTION, MARGIN, solimp=finger_solimp)
        for proxy in hand
        for other in objects
    )
