"""plate-slide-back-side: drag the puck sideways out of the cabinet.

Source: metaworld 3.0.0, `sawyer_plate_slide_back_side_v3.py`.
"""

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.plate import PlateScene, plate_scene
from rcjax.envs.mjx_env import EnvState


class PlateSlideBackSide(PlateScene):
    """The cabinet stands on the left and the puck in front of it."""

    task = "plate-slide-back-side"
    scene = plate_scene("sawyer_xyz/sawyer_plate_slide_sideway.xml", placed_bodies=("puck_goal",))
    goal_low = (-0.05, 0.6, 0.015)
    goal_high = (0.15, 0.6, 0.015)
    random_low = (-0.25, 0.6, 0.0, *goal_low)
    random_high = (-0.25, 0.6, 0.0, *goal_high)
    prompt = "robot sliding plate sideways out of cabinet"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        puck_pos, target_pos = np.split(random_vector, 2)
        data.mocap_pos[self.mocap_id("puck_goal")] = puck_pos
        self.place_puck(data, -0.15, 0.0)
        constants = {"max_pull": self.max_pull(data, target_pos)}
        return Placement(target_pos=target_pos, object_init_pos=puck_pos, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.drag_reward(state, obs)
