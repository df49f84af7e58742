"""push: grasp the puck and push it along the table to the goal.

Source: metaworld 3.0.0, `sawyer_push_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import REST_HEIGHT, PuckScene, puck_scene, terms
from rcjax.envs.mjx_env import EnvState

TARGET_RADIUS = 0.05  # metres


class Push(PuckScene):
    """The goal lies on the table, 10 cm or more behind the puck."""

    task = "push"
    scene = puck_scene("sawyer_xyz/sawyer_push_v3.xml")
    goal_low = (-0.1, 0.8, 0.01)
    goal_high = (0.1, 0.9, 0.02)
    random_low = (-0.1, 0.6, 0.02, *goal_low)
    random_high = (0.1, 0.7, 0.02, *goal_high)
    prompt = "robot pushing puck to goal"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Puts puck and goal at the height at which the puck settles, whatever the vector says."""
        object_pos = np.array([*random_vector[:2], REST_HEIGHT])
        place_free(data, object_pos)
        return Placement(target_pos=np.array([*random_vector[3:5], REST_HEIGHT]), object_init_pos=object_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging, more of it and the place with the fingertips at the puck; 10 at the goal."""
        puck = obs[4:7]
        to_puck, to_target = distance(puck, self.tcp(state.physics.poses)), distance(puck, state.task.target_pos)
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self.caging(
            state, action, puck,
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high",
        )  # fmt: skip
        at_puck = (to_puck < 0.02) & (obs[3] > 0)
        reward = 2.0 * grasped + jnp.where(at_puck, 1.0 + 2.0 * grasped + 5.0 * in_place, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, TARGET_RADIUS, to_puck, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.push_v1(state, obs, TARGET_RADIUS)
