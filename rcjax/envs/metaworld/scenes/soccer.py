"""The ball and the goal of soccer."""

from rcjax.envs.metaworld.scenes.puck import FINGERS, GRIP_SOLIMP, HAND_TORSION, TABLE, TABLE_SOLIMP, TABLE_SOLREF
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, Pair, Proxy, SceneSpec

BALL_RADIUS = 0.026  # metres
_LEAN = (0.98919, 0.14660, 0.0, 0.0)  # the back leans forward by 17 degrees

_GOAL = (
    Proxy("right_post", "goal_whole", "box", (0.0065, 0.06, 0.0825), (0.0965, -0.004, 0.0825), role="scenery"),
    Proxy("left_post", "goal_whole", "box", (0.0065, 0.06, 0.0825), (-0.0965, -0.004, 0.0825), role="scenery"),
    Proxy("back", "goal_whole", "box", (0.103, 0.0072, 0.0862), (0.0, 0.0315, 0.0825), _LEAN, role="scenery"),
    Proxy("bar", "goal_whole", "box", (0.09, 0.039, 0.0055), (0.0, -0.025, 0.1595), role="scenery"),
)
# The gripper's base, above the fingers, runs into the goal before they reach its back.
_BASE = tuple(
    Proxy(f"base{i}", "hand", "sphere", (0.03,), (-0.069, y, -0.008), role="internal")
    for i, y in enumerate((-0.023, 0.023))
)

SOCCER_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_soccer.xml",
    placed_bodies=("goal_whole",),
    proxies=(Proxy("ball", "soccer_ball", "sphere", (BALL_RADIUS,), role="internal"), *FINGERS, TABLE, *_GOAL, *_BASE),
    extra_pairs=(
        *(Pair("ball", f.name, 4, HAND_FRICTION, MARGIN, torsion=HAND_TORSION, solimp=GRIP_SOLIMP) for f in FINGERS),
        Pair("ball", "table", solref=TABLE_SOLREF, solimp=TABLE_SOLIMP),
        *(Pair("ball", part.name) for part in _GOAL[:3]),
        *(Pair(base.name, part.name, condim=1, margin=MARGIN) for base in _BASE for part in _GOAL),
    ),
)
