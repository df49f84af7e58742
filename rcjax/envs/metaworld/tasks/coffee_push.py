"""coffee-push: push the mug under the coffee machine's spout.

Source: metaworld 3.0.0, `sawyer_coffee_push_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.coffee import PUSH_SCENE, CoffeeScene
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

SUCCESS_RADIUS = 0.07  # metres


class CoffeePush(CoffeeScene):
    """The mug stands in front of the machine; the goal lies under the spout."""

    task = "coffee-push"
    scene = PUSH_SCENE
    hand_init_pos = (0.0, 0.4, 0.2)
    goal_low = (-0.05, 0.7, -0.001)
    goal_high = (0.05, 0.75, 0.001)
    random_low = (-0.1, 0.55, -0.001, *goal_low)
    random_high = (0.1, 0.65, 0.001, *goal_high)
    prompt = "robot pushing mug to coffee machine"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.15)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        mug_pos, target_pos = np.split(random_vector, 2)
        place_free(data, mug_pos)
        self.place_machine(data, target_pos + np.array([0.0, 0.22, 0.0]))
        return Placement(target_pos=target_pos, object_init_pos=mug_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return self.mug_pose(poses)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more with the hand at the mug; 10 at the goal. x and y count double."""
        task, mug = state.task, obs[4:7]
        scale = jnp.array([2.0, 2.0, 1.0])
        scaled_distance = distance(mug * scale, task.target_pos * scale)
        margin = distance(task.object_init_pos * scale, task.target_pos * scale)
        in_place = tolerance(scaled_distance, 0.0, 0.05, margin, "long_tail")
        to_mug = distance(mug, self.tcp(state.physics.poses))
        grasped = self.caging(
            state, action, mug,
            object_reach_radius=0.04, obj_radius=0.02, pad_success_thresh=0.05, xz_thresh=0.05,
            desired_gripper_effort=0.7, density="medium",
        )  # fmt: skip
        reward = hamacher_product(grasped, in_place)
        reward = reward + jnp.where((to_mug < 0.04) & (obs[3] > 0), 1.0 + 5.0 * in_place, 0.0)
        to_target = distance(mug, task.target_pos)
        return jnp.where(scaled_distance < 0.05, 10.0, reward), {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_mug <= 0.03,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, mug = state.task, obs[4:7]
        to_target = distance(mug[:2], task.target_pos[:2])
        max_push = distance(task.object_init_pos[:2], task.target_pos[:2])
        reward = v1_reach_and_pull(distance(mug, self.tcp(state.physics.poses)), max_push, to_target)
        apart = distance(mug, task.target_pos)
        return reward, v1_terms(apart, SUCCESS_RADIUS, grasp_success=None)
