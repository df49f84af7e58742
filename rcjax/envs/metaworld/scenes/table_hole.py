"""The thick table with a rectangular hole and the cube, for hand-insert and sweep-into.

The hole is 16 cm by 16 cm and 5 cm deep; its bottom is at a height of 0, the table's top at 5 cm. The cube's moment of
inertia is so large that it never turns.
"""

from rcjax.envs.metaworld.scenes.cube import cube, finger_pairs, fingers
from rcjax.envs.metaworld.scenes.puck import GRIP_SOLIMP, table_pairs
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec, internal

CUBE_REST_HEIGHT = 0.0699681036  # metres: where the official cube's centre settles on the official table
# The cube weighs 10 g, so contacts with it are soft, and the official ones are many: eight points per finger.
_GRIP_SOLIMP = (0.9993, 0.9998, 0.01, 0.5, 2.0)
_THICKNESS = 0.05  # half of it, metres
_TOP = (
    Proxy("front", "world", "box", (0.08, 0.28, _THICKNESS), (0.0, 0.48, 0.0), role="internal"),
    Proxy("left", "world", "box", (0.31, 0.4, _THICKNESS), (-0.39, 0.6, 0.0), role="internal"),
    Proxy("right", "world", "box", (0.31, 0.4, _THICKNESS), (0.39, 0.6, 0.0), role="internal"),
    Proxy("back", "world", "box", (0.08, 0.04, _THICKNESS), (0.0, 0.96, 0.0), role="internal"),
)
_BOTTOM = internal(TABLE)
_TIPS = tuple(
    Proxy(f"{side}_tip", f"{side}claw", "sphere", (0.0045,), (0.0405, y, 0.0), role="internal")
    for side, y in (("right", 0.0015), ("left", -0.0015))
)
_CUBE = cube()
_POINTS = fingers()
_FEET = tuple(proxy.name for proxy in _CUBE if proxy.name.startswith("foot"))

TABLE_HOLE_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_table_with_hole.xml",
    placed_bodies=(),
    proxies=(*_CUBE, *_POINTS, *_TIPS, _BOTTOM, *_TOP),
    extra_pairs=(
        *finger_pairs(_POINTS, _GRIP_SOLIMP),
        *table_pairs(_CUBE),
        *(Pair(foot, top.name) for foot in _FEET for top in _TOP),
        *(
            Pair(tip.name, part.name, 3, HAND_FRICTION, MARGIN, solimp=GRIP_SOLIMP)
            for tip in _TIPS
            for part in (_BOTTOM, *_TOP)
        ),
    ),
)
