"""reach: bring the fingertips to a point in the air; the puck plays no part.

Source: metaworld 3.0.0, `sawyer_reach_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import Terms, distance, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, puck_scene
from rcjax.envs.mjx_env import EnvState

TARGET_RADIUS = 0.05  # metres


class Reach(PuckScene):
    """The goal is at a height of 5 to 30 cm, behind the puck."""

    task = "reach"
    scene = puck_scene("sawyer_xyz/sawyer_reach_v3.xml")
    goal_low = (-0.1, 0.8, 0.05)
    goal_high = (0.1, 0.9, 0.3)
    random_low = (-0.1, 0.6, 0.02, *goal_low)
    random_high = (0.1, 0.7, 0.02, *goal_high)
    prompt = "robot reaching for a point"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        object_pos, target_pos = np.split(random_vector, 2)
        place_free(data, object_pos)
        return Placement(target_pos=target_pos, object_init_pos=object_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the nearness of the fingertips to the goal."""
        del obs, action
        target_pos = state.task.target_pos
        to_target = distance(self.tcp(state.physics.poses), target_pos)
        margin = distance(jnp.asarray(self.hand_init_pos), target_pos)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, margin, "long_tail")
        return 10.0 * in_place, self.reach_terms(to_target, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del obs, action
        task = state.task
        to_target = distance(self.tcp(state.physics.poses), task.target_pos)
        reward = v1_pull(distance(task.init_tcp, task.target_pos), to_target)
        return reward, self.reach_terms(to_target, jnp.zeros(()))

    def reach_terms(self, to_target: Array, in_place: Array) -> Terms:
        return {
            "success": to_target <= TARGET_RADIUS,
            "near_object": to_target,
            "grasp_success": 1.0,
            "grasp_reward": to_target,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }
