"""plate-slide: slide the puck into the cabinet.

Source: metaworld 3.0.0, `sawyer_plate_slide_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import hamacher_product
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.plate import TARGET_RADIUS, PlateScene, plate_scene
from rcjax.envs.mjx_env import EnvState


class PlateSlide(PlateScene):
    """The goal lies in the cabinet, behind the puck."""

    task = "plate-slide"
    scene = plate_scene("sawyer_xyz/sawyer_plate_slide.xml", placed_bodies=("puck_goal",))
    goal_low = (-0.1, 0.85, 0.0)
    goal_high = (0.1, 0.9, 0.0)
    random_low = (0.0, 0.6, 0.0, *goal_low)
    random_high = (0.0, 0.6, 0.0, *goal_high)
    prompt = "robot sliding plate into cabinet"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        puck_pos, target_pos = np.split(random_vector, 2)
        data.mocap_pos[self.mocap_id("puck_goal")] = target_pos
        self.place_puck(data, 0.0, 0.0)
        constants = {"max_pull": self.max_pull(data, target_pos)}
        return Placement(target_pos=target_pos, object_init_pos=puck_pos, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reach times place; 10 at the goal."""
        del action
        terms = self.slide_terms(state, obs, margin_ends_at=0.0)
        reward = 8.0 * hamacher_product(terms["grasp_reward"], terms["in_place_reward"])
        return jnp.where(terms["obj_to_target"] < TARGET_RADIUS, 10.0, reward), terms
