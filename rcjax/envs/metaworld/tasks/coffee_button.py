"""coffee-button: press the coffee machine's button.

Source: metaworld 3.0.0, `sawyer_coffee_button_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.coffee import BUTTON_SCENE, CoffeeScene
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TRAVEL = 0.03  # metres
SUCCESS_Y = 0.02
REACH_RADIUS = 0.05


class CoffeeButton(CoffeeScene):
    """The mug stands under the spout; the goal is the button's face, pressed."""

    task = "coffee-button"
    scene = BUTTON_SCENE
    hand_init_pos = (0.0, 0.4, 0.2)
    goal_low = (-0.101, 0.61, 0.298)
    goal_high = (0.101, 0.71, 0.302)
    random_low = (-0.1, 0.8, -0.001)
    random_high = (0.1, 0.9, 0.001)
    prompt = "robot pressing button of coffee machine"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_machine(data, random_vector)
        place_free(data, random_vector + np.array([0.0, -0.22, 0.0]))
        mujoco.mj_kinematics(self.mj_model, data)
        target_pos = random_vector + np.array([0.0, TRAVEL - 0.22, 0.3])
        travel = abs(data.site("buttonStart").xpos[1] - target_pos[1])
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants={"travel": travel})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.site_pos(poses, "buttonStart"), jnp.array([1.0, 0.0, 0.0, 0.0])])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards open fingers near the button and, once they are there, how far it is pressed in."""
        del action
        task, button = state.task, obs[4:7]
        to_button = distance(button, self.tcp(state.physics.poses))
        to_target = jnp.abs(task.target_pos[1] - button[1])
        near = tolerance(to_button, 0.0, REACH_RADIUS, distance(button, task.init_tcp), "long_tail")
        pressed = tolerance(to_target, 0.0, 0.005, TRAVEL, "long_tail")
        reward = 2.0 * hamacher_product(jnp.maximum(obs[3], 0.0), near)
        return reward + jnp.where(to_button <= REACH_RADIUS, 8.0 * pressed, 0.0), {
            "success": to_target <= SUCCESS_Y,
            "near_object": to_button <= REACH_RADIUS,
            "grasp_success": obs[3] > 0,
            "grasp_reward": near,
            "in_place_reward": pressed,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        reward, to_target = self.finger_v1(state, obs, axis=1, max_distance=state.task.constants["travel"])
        return reward, v1_terms(to_target, SUCCESS_Y)
