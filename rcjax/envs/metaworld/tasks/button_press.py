"""button-press: press the button on the front of a box.

Source: metaworld 3.0.0, `sawyer_button_press_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.button import ButtonScene, button_scene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

SUCCESS_Y = 0.02  # metres
REACH_RADIUS = 0.05


class ButtonPress(ButtonScene):
    """The box faces the robot; the goal is the hole that the button goes into."""

    task = "button-press"
    scene = button_scene("press")
    random_low = (-0.1, 0.85, 0.115)
    random_high = (0.1, 0.9, 0.115)
    prompt = "robot pushing red button"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_box(data, random_vector)
        target_pos = data.site("hole").xpos.copy()
        travel = abs(target_pos[1] - data.site("buttonStart").xpos[1])
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants={"travel": travel})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return self.button_pose(poses, (0.0, -0.193, 0.0))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards closed fingers near the button and, once they are there, how far it is pressed in."""
        del action
        task, button = state.task, obs[4:7]
        to_button = distance(button, self.tcp(state.physics.poses))
        to_target = jnp.abs(task.target_pos[1] - button[1])
        near = tolerance(to_button, 0.0, REACH_RADIUS, distance(button, task.init_tcp), "long_tail")
        pressed = tolerance(to_target, 0.0, 0.005, task.constants["travel"], "long_tail")
        reward = 2.0 * hamacher_product(obs[3], near) + jnp.where(to_button <= REACH_RADIUS, 8.0 * pressed, 0.0)
        return reward, {
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
