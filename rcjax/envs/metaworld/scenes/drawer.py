"""The chest with the green drawer, for drawer-close and drawer-open."""

from rcjax.envs.metaworld.hand import TIP_CORNERS
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.metaworld.scenes.edges import touching
from rcjax.envs.scenes import ALONG_X, ALONG_Y, TABLE, Pair, Proxy, SceneSpec

# The open drawer's sides, which fingers that reach into it meet.
_INSIDE = tuple(
    Proxy(name, "drawer_link", "box", (0.008, 0.082, 0.052), (x, 0.0, 0.008), role="internal")
    for name, x in (("left_side", -0.092), ("right_side", 0.092))
)


class DrawerScene(SawyerEnv):
    """The chest stands at x in [-0.1, 0.1]; its drawer slides out towards the robot."""

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_drawer.xml",
        placed_bodies=("drawer",),
        proxies=(
            Proxy("handle", "drawer_link", "capsule", (0.009, 0.05), (0.0, -0.15, 0.0), ALONG_X),
            Proxy("front", "drawer_link", "box", (0.1, 0.008, 0.052), (0.0, -0.082, 0.008)),
            Proxy("case", "drawer", "box", (0.118, 0.1, 0.084), (0.0, 0.0, 0.084), role="scenery"),
            TABLE,
            *_INSIDE,
            *TIP_CORNERS,
            # The wall behind stops the drawer: its back meets it where its joint meets its limit.
            Proxy("back", "drawer_link", "sphere", (0.008,), (0.0, 0.082, 0.008), role="internal"),
            Proxy("wall", "world", "plane", (0.0, 0.0, 1.0), (0.0, 0.98, 0.0), ALONG_Y, role="internal"),
        ),
        extra_pairs=(Pair("back", "wall", condim=1), *touching(TIP_CORNERS, _INSIDE)),
    )
    random_low = (-0.1, 0.9, 0.0)
    random_high = (0.1, 0.9, 0.0)
