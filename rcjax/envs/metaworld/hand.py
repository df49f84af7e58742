"""The gripper's proxies for collision, by what they meet.

In the hand's frame x points to the fingertips and y across the fingers. A finger, claw and pad together, is
90 x 9 x 30 mm. Its outer face, which pushes, is 3 mm outwards of the claw's origin and its inner face, which
grasps, 6 mm inwards; spheres and capsules are flush with the outer face and with the tip, and thicker than the
finger inwards.
"""

from rcjax.envs.scenes import ALONG_X, ALONG_Y, Proxy

HAND_BODIES = ("hand", "right_hand", "rightclaw", "leftclaw")
_OUTER_FACE = 0.003  # metres outwards of the claw's origin


def _finger(side: str, inwards: float) -> dict[str, list[Proxy]]:
    """One finger's proxies; `inwards` is the sign of y towards the other finger."""
    claw = f"{side}claw"

    def flush(radius: float) -> float:
        return inwards * (radius - _OUTER_FACE)

    return {
        "box": [
            *(
                Proxy(f"{side}_finger_sphere{i}", claw, "sphere", (0.012,), (x, flush(0.012), 0.0))
                for i, x in enumerate((0.033, 0.0))
            ),
            Proxy(f"{side}_base_sphere", "hand", "sphere", (0.03,), (-0.069, -0.023 * inwards, -0.008)),
        ],
        "capsule": [
            Proxy(f"{side}_finger_capsule{i}", claw, "capsule", (0.0065, 0.0385), (0.0, flush(0.0065), z), ALONG_X)
            for i, z in enumerate((-0.0085, 0.0085))
        ],
        "sphere": [Proxy(f"{side}_finger_box", claw, "box", (0.045, 0.0045, 0.015), (0.0, flush(0.0045), 0.0))],
        "scenery": [Proxy(f"{side}_fingertip", claw, "sphere", (0.006,), (0.039, flush(0.006), 0.0))],
    }


def _hand() -> dict[str, tuple[Proxy, ...]]:
    right, left = _finger("right", 1.0), _finger("left", -1.0)
    base = Proxy("base_capsule", "hand", "capsule", (0.027, 0.026), (-0.066, 0.0, -0.008), ALONG_Y)
    extra = {"capsule": (base,)}
    return {partner: (*right[partner], *left[partner], *extra.get(partner, ())) for partner in right}


HAND_PROXIES = _hand()
"""What meets an object's boxes, capsules and spheres, and what meets scenery."""
