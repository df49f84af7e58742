"""push-wall: grasp the puck and push it around a wall to the goal.

Source: metaworld 3.0.0, `sawyer_push_wall_v3.py`.
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance
from rcjax.envs.metaworld.sawyer import Reward
from rcjax.envs.metaworld.scenes.puck import puck_wall_scene, terms
from rcjax.envs.metaworld.tasks.push import TARGET_RADIUS, Push
from rcjax.envs.mjx_env import EnvState

SUCCESS_RADIUS = 0.07  # metres
WAY_POINT = (-0.05, 0.77)  # beside the wall
BEHIND_WALL_Y = 0.75


class PushWall(Push):
    """The wall is on the right, between puck and goal."""

    task = "push-wall"
    scene = puck_wall_scene("sawyer_xyz/sawyer_push_wall_v3.xml")
    goal_low = (-0.05, 0.85, 0.01)
    goal_high = (0.05, 0.9, 0.02)
    random_low = (-0.05, 0.6, 0.015, *goal_low)
    random_high = (0.05, 0.65, 0.015, *goal_high)
    prompt = "robot pushing puck around wall"

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging and, with the fingertips at the puck, the way past the wall and then to the goal; 10 there."""
        task, puck = state.task, obs[4:7]
        to_puck, to_target = distance(puck, self.tcp(state.physics.poses)), distance(puck, task.target_pos)
        scale = jnp.array([3.0, 1.0, 1.0])
        way_point = jnp.stack([*jnp.asarray(WAY_POINT), puck[2]])
        margin = distance(task.object_init_pos * scale, way_point * scale)
        passing = tolerance(distance(puck * scale, way_point * scale), 0.0, TARGET_RADIUS, margin, "long_tail")
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self.caging(
            state, action, puck,
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high",
        )  # fmt: skip
        at_puck = (to_puck < 0.02) & (obs[3] > 0)
        on_the_way = jnp.where(puck[1] > BEHIND_WALL_Y, 5.0 + 3.0 * in_place, 1.0 + 4.0 * passing)
        reward = 2.0 * grasped + jnp.where(at_puck, on_the_way, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, SUCCESS_RADIUS, to_puck, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.push_v1(state, obs, SUCCESS_RADIUS)
