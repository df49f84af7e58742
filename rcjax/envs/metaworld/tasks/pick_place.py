"""pick-place: pick the puck up and bring it to a point in the air.

Source: metaworld 3.0.0, `sawyer_pick_place_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, puck_scene, terms
from rcjax.envs.mjx_env import EnvState

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.07


class PickPlace(PuckScene):
    """The goal is at a height of 5 to 30 cm, behind the puck."""

    task = "pick-place"
    scene = puck_scene("sawyer_xyz/sawyer_pick_place_v3.xml")
    goal_low = (-0.1, 0.8, 0.05)
    goal_high = (0.1, 0.9, 0.3)
    random_low = (-0.1, 0.6, 0.02, *goal_low)
    random_high = (0.1, 0.7, 0.02, *goal_high)
    prompt = "robot picking up puck"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        object_pos, target_pos = np.split(random_vector, 2)
        place_free(data, object_pos)
        return Placement(target_pos=target_pos, object_init_pos=object_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more with the puck lifted; 10 at the goal."""
        task, puck = state.task, obs[4:7]
        to_puck, to_target = distance(puck, self.tcp(state.physics.poses)), distance(puck, task.target_pos)
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self._grasping(state, action, puck)
        lifted = (to_puck < 0.02) & (obs[3] > 0) & (puck[2] - 0.01 > task.object_init_pos[2])
        reward = hamacher_product(grasped, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, SUCCESS_RADIUS, to_puck, grasped, in_place)

    def _grasping(self, state: EnvState, action: Float[Array, " 4"], puck: Float[Array, " 3"]) -> Float[Array, ""]:
        """Rewards caging and, once it is good, also how hard the gripper closes."""
        caging, _, _ = self.pad_caging(state, puck, radius=0.015, xz_thresh=0.005)
        closing = jnp.where(caging > 0.97, jnp.clip(action[3], 0.0, 1.0), 0.0)
        return (hamacher_product(caging, closing) + caging) / 2

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        return self.pick_v1(state, obs, action)
