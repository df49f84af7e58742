"""The chest with the green drawer, for drawer-close and drawer-open."""

from rcjax.envs.metaworld.hand import ROUND_HAND_PROXIES, round_hand_pair
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.scenes import ALONG_X, ALONG_Y, TABLE, Pair, Proxy, SceneSpec


class DrawerScene(SawyerEnv):
    """The chest stands at x in [-0.1, 0.1]; its drawer slides out towards the robot.

    The hand is the rounder one here, which slides on the table and whose base collides with no case. It is older than
    the one of the other scenes, and all that was measured of this task was measured with it.
    """

    hand_proxies = ROUND_HAND_PROXIES
    hand_pair = staticmethod(round_hand_pair)

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_drawer.xml",
        placed_bodies=("drawer",),
        proxies=(
            Proxy("handle", "drawer_link", "capsule", (0.009, 0.05), (0.0, -0.15, 0.0), ALONG_X),
            Proxy("front", "drawer_link", "box", (0.1, 0.008, 0.052), (0.0, -0.082, 0.008)),
            Proxy("case", "drawer", "box", (0.118, 0.1, 0.084), (0.0, 0.0, 0.084), role="scenery"),
            TABLE,
            # The wall behind stops the drawer: the drawer's back touches it where the joint reaches its limit.
            Proxy("back", "drawer_link", "sphere", (0.008,), (0.0, 0.082, 0.008), role="internal"),
            Proxy("wall", "world", "plane", (0.0, 0.0, 1.0), (0.0, 0.98, 0.0), ALONG_Y, role="internal"),
        ),
        extra_pairs=(Pair("back", "wall", condim=1),),
    )
    random_low = (-0.1, 0.9, 0.0)
    random_high = (0.1, 0.9, 0.0)
