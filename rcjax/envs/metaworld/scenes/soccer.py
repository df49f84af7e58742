"""The ball and the goal of soccer.

Fingers push the ball from both sides of its middle. It sticks to a finger and slides on the table more than it rolls.
Only the official friction cone and softness reproduce its official path.
"""

from rcjax.envs.metaworld.hand import PALM, TIP_CORNERS
from rcjax.envs.metaworld.scenes.puck import FINGERS, HAND_TORSION, TABLE_SOLIMP, TABLE_SOLREF
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec

BALL_RADIUS = 0.026  # metres
_PAD_SOLIMP = (0.97, 0.99, 0.01, 0.5, 2.0)  # the official contacts between pads and the ball
_LEAN = (0.98919, 0.14660, 0.0, 0.0)  # the back leans forward by 17 degrees

_BALL = Proxy("ball", "soccer_ball", "sphere", (BALL_RADIUS,), role="internal")
_GOAL = (
    Proxy("right_post", "goal_whole", "box", (0.0065, 0.06, 0.0825), (0.0965, -0.004, 0.0825), role="internal"),
    Proxy("left_post", "goal_whole", "box", (0.0065, 0.06, 0.0825), (-0.0965, -0.004, 0.0825), role="internal"),
    Proxy("back", "goal_whole", "box", (0.103, 0.0072, 0.0862), (0.0, 0.0315, 0.0825), _LEAN, role="internal"),
    Proxy("bar", "goal_whole", "box", (0.09, 0.039, 0.0055), (0.0, -0.025, 0.1595), role="internal"),
)
# The gripper's base, above the fingers, collides with the goal before the fingers reach the goal's back.
_BASE = PALM

SOCCER_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_soccer.xml",
    placed_bodies=("goal_whole",),
    proxies=(_BALL, TABLE, *FINGERS, *TIP_CORNERS, *_BASE, *_GOAL),
    extra_pairs=(
        *(Pair("ball", f.name, 4, HAND_FRICTION, MARGIN, torsion=HAND_TORSION, solimp=_PAD_SOLIMP) for f in FINGERS),
        Pair("ball", "table", solref=TABLE_SOLREF, solimp=TABLE_SOLIMP),
        *(Pair("ball", part.name) for part in _GOAL[:3]),
        *(Pair(tip.name, part.name, 3, HAND_FRICTION, MARGIN) for tip in TIP_CORNERS for part in _GOAL),
        *(Pair(base.name, part.name, margin=MARGIN) for base in _BASE for part in _GOAL),
    ),
    elliptic_cone=True,
)
