"""pick-place-wall: pick the puck up and bring it over a wall.

Source: metaworld 3.0.0, `sawyer_pick_place_wall_v3.py`.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance
from rcjax.envs.metaworld.sawyer import Reward
from rcjax.envs.metaworld.scenes.puck import puck_wall_scene, terms
from rcjax.envs.metaworld.tasks.pick_place import SUCCESS_RADIUS, TARGET_RADIUS, PickPlace
from rcjax.envs.mjx_env import EnvState

WAY_POINT_Y = 0.77  # metres, above and behind the wall
WAY_POINT_Z = 0.25
BEHIND_WALL_Y = 0.75


class PickPlaceWall(PickPlace):
    """The wall is on the right, between puck and goal. The puck starts 5 mm inside the table,
    which pushes it out."""

    task = "pick-place-wall"
    scene = puck_wall_scene("sawyer_xyz/sawyer_pick_place_wall_v3.xml")
    goal_low = (-0.05, 0.85, 0.05)
    goal_high = (0.05, 0.9, 0.3)
    random_low = (-0.05, 0.6, 0.015, *goal_low)
    random_high = (0.05, 0.65, 0.015, *goal_high)
    prompt = "robot picking up puck and lifting it over wall"

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times nearness to a point above the wall.

        With the puck lifted the reward is larger, and past the wall it grows with the nearness to the goal; 10 there.
        """
        task, puck = state.task, obs[4:7]
        to_puck, to_target = distance(puck, self.tcp(state.physics.poses)), distance(puck, task.target_pos)
        scale = jnp.array([1.0, 1.0, 3.0])
        way_point = jnp.array([0.0, WAY_POINT_Y, WAY_POINT_Z]).at[0].set(task.target_pos[0])
        margin = distance(task.object_init_pos * scale, way_point * scale)
        passing = tolerance(distance(puck * scale, way_point * scale), 0.0, TARGET_RADIUS, margin, "long_tail")
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self.caging(
            state, action, puck,
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005,
        )  # fmt: skip
        lifted = (to_puck < 0.02) & (obs[3] > 0) & (puck[2] - 0.015 > task.object_init_pos[2])
        on_the_way = jnp.where(puck[1] > BEHIND_WALL_Y, 5.0 + 3.0 * in_place, 1.0 + 4.0 * passing)
        reward = hamacher_product(grasped, passing) + jnp.where(lifted, on_the_way, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, SUCCESS_RADIUS, to_puck, grasped, in_place)
