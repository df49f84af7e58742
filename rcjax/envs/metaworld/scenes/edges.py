"""Further proxies of the hand, for what its edges and its base push. Internal: scenes pair them themselves."""

from collections.abc import Iterable

from rcjax.envs.metaworld.hand import FIRM_SOLIMP, contact_pair
from rcjax.envs.scenes import ALONG_X, ALONG_Y, Pair, Proxy

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


def contact_pairs(
    hand: Iterable[Proxy], objects: Iterable[Proxy], finger_solimp: tuple[float, ...] = FIRM_SOLIMP
) -> tuple[Pair, ...]:
    """Pairs of each proxy of the hand with each of the objects; see `hand.contact_pair`."""
    objects = tuple(objects)
    return tuple(contact_pair(proxy, other, finger_solimp) for proxy in hand for other in objects)
