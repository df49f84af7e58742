"""plate-slide-back: drag the puck out of the cabinet towards the robot.

Source: metaworld 3.0.0, `sawyer_plate_slide_back_v3.py`.
The reset there means to move the cabinet and does not.
"""

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.plate import PlateScene, plate_scene
from rcjax.envs.mjx_env import EnvState


class PlateSlideBack(PlateScene):
    """The cabinet stands still, 10 cm behind the puck, which starts in front of it."""

    task = "plate-slide-back"
    scene = plate_scene("sawyer_xyz/sawyer_plate_slide.xml")
    goal_low = (-0.1, 0.6, 0.015)
    goal_high = (0.1, 0.6, 0.015)
    random_low = (0.0, 0.85, 0.0, *goal_low)
    random_high = (0.0, 0.85, 0.0, *goal_high)
    prompt = "robot sliding plate out of cabinet"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        puck_pos, target_pos = np.split(random_vector, 2)
        self.place_puck(data, 0.0, 0.15)
        constants = {"max_pull": self.max_pull(data, target_pos)}
        return Placement(target_pos=target_pos, object_init_pos=puck_pos, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.drag_reward(state, obs)
