"""push-back: grasp the cube and pull it along the table towards the robot.

Source: metaworld 3.0.0, `sawyer_push_back_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.cube import REST_HEIGHT, cube_scene
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, terms
from rcjax.envs.mjx_env import EnvState

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.07


class PushBack(PuckScene):
    """The goal lies on the table, 10 cm or more in front of the cube."""

    task = "push-back"
    scene = cube_scene("sawyer_xyz/sawyer_push_back_v3.xml", friction=2.0)
    goal_low = (-0.1, 0.6, 0.0199)
    goal_high = (0.1, 0.7, 0.0201)
    random_low = (-0.1, 0.8, 0.02, *goal_low)
    random_high = (0.1, 0.85, 0.02, *goal_high)
    prompt = "robot pulling cube back to goal"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Puts cube and goal at the height at which the cube settles, whatever the vector says."""
        object_pos = np.array([*random_vector[:2], REST_HEIGHT])
        place_free(data, object_pos)
        return Placement(target_pos=np.array([*random_vector[3:5], REST_HEIGHT]), object_init_pos=object_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more once the closed gripper has brought the cube nearer; 10 at the goal."""
        del action
        task, cube = state.task, obs[4:7]
        to_cube, to_target = distance(cube, self.tcp(state.physics.poses)), distance(cube, task.target_pos)
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self.pinching(state, cube, radius=0.007, slack=0.003, xz_thresh=0.01)
        nearer_by = distance(task.object_init_pos, task.target_pos) - to_target
        pulling = (to_cube < 0.01) & (obs[3] > 0) & (obs[3] < 0.55) & (nearer_by > 0.01)
        reward = hamacher_product(grasped, in_place) + jnp.where(pulling, 1.0 + 5.0 * in_place, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, SUCCESS_RADIUS, to_cube, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.push_v1(state, obs, SUCCESS_RADIUS)
