"""The thick table with a rectangular hole and the cube, for hand-insert and sweep-into.

The hole is 16 cm by 16 cm and 5 cm deep; its bottom is at a height of 0, the table's top at 5 cm. The cube's inertia is
that of a mountain: it never turns.
"""

from rcjax.envs.metaworld.scenes.cube import cube, gripped
from rcjax.envs.metaworld.scenes.puck import TABLE, on_table
from rcjax.envs.scenes import Pair, Proxy, SceneSpec

CUBE_REST_HEIGHT = 0.0699681036  # metres: where the official cube's centre settles on the official table
_THICKNESS = 0.05  # half of it, metres
_TOP = (
    Proxy("front", "world", "box", (0.08, 0.28, _THICKNESS), (0.0, 0.48, 0.0), role="scenery"),
    Proxy("left", "world", "box", (0.31, 0.4, _THICKNESS), (-0.39, 0.6, 0.0), role="scenery"),
    Proxy("right", "world", "box", (0.31, 0.4, _THICKNESS), (0.39, 0.6, 0.0), role="scenery"),
    Proxy("back", "world", "box", (0.08, 0.04, _THICKNESS), (0.0, 0.96, 0.0), role="scenery"),
)
_CUBE = cube()
_FEET = tuple(proxy.name for proxy in _CUBE if proxy.name.startswith("foot"))

TABLE_HOLE_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_table_with_hole.xml",
    placed_bodies=(),
    proxies=(*_CUBE, TABLE, *_TOP),
    extra_pairs=(*gripped(), *on_table(_CUBE), *(Pair(foot, top.name) for foot in _FEET for top in _TOP)),
)
