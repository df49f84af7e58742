"""reach-wall: bring the fingertips to a point behind a wall.

Source: metaworld 3.0.0, `sawyer_reach_wall_v3.py`.
"""

from jax import Array

from rcjax.envs.metaworld.rewards import Terms
from rcjax.envs.metaworld.scenes.puck import WALL, finger_pairs, puck, table_pairs
from rcjax.envs.metaworld.tasks.reach import TARGET_RADIUS, Reach
from rcjax.envs.scenes import TABLE, Pair, SceneSpec

_PUCK = puck(0.03, 0.015)


class ReachWall(Reach):
    """Like reach, with a wall 12 cm high between puck and goal, and a flatter puck."""

    task = "reach-wall"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_reach_wall_v3.xml",
        placed_bodies=(),
        proxies=(*_PUCK, TABLE, WALL),
        extra_pairs=(*finger_pairs(_PUCK), *table_pairs(_PUCK), Pair("side0", "wall")),
    )
    goal_low = (-0.05, 0.85, 0.05)
    goal_high = (0.05, 0.9, 0.3)
    random_low = (-0.05, 0.6, 0.015, *goal_low)
    random_high = (0.05, 0.65, 0.015, *goal_high)
    prompt = "robot reaching for a point behind a wall"

    def reach_terms(self, to_target: Array, in_place: Array) -> Terms:
        return {
            "success": to_target <= TARGET_RADIUS,
            "near_object": 0.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }
