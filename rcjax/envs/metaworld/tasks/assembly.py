"""assembly: put the nut around the peg.

Source: metaworld 3.0.0, `sawyer_assembly_peg_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free, settled_as_in_xml
from rcjax.envs.metaworld.scenes.nut import XML, NutScene, level_reward
from rcjax.envs.mjx_env import EnvState

ALIGNED_RADIUS = 0.02  # metres, horizontally between nut and peg
PEG_HEIGHT = 0.05  # from the peg's middle to its top


class Assembly(NutScene):
    """The nut lies before the peg; the goal is the peg's top."""

    task = "assembly"
    goal_low = (-0.1, 0.75, 0.1)
    goal_high = (0.1, 0.85, 0.1)
    random_low = (0.0, 0.6, 0.02, *goal_low)
    random_high = (0.0, 0.6, 0.02, *goal_high)
    prompt = "robot putting nut on peg"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        nut_pos, target_pos = np.split(random_vector, 2)
        place_free(data, nut_pos, settled_as_in_xml(XML, tuple(self.hand_init_pos))[3:])
        self.place_peg(data, target_pos - np.array([0.0, 0.0, PEG_HEIGHT]))
        return Placement(target_pos=target_pos, object_init_pos=nut_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Caging of the handle and place of the nut, while it is level; 10 around the peg."""
        center = self.site_pos(state.physics.poses, "RoundNut")
        grasped = self.nut_grasp(state, obs, action, "medium")
        in_place, success = _place_reward(center, state.task.target_pos)
        level = level_reward(obs)
        return jnp.where(success, 10.0, (2.0 * grasped + 6.0 * in_place) * level), {
            "success": success,
            "near_object": level,
            "grasp_success": grasped >= 0.5,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": 0.0,
        }


def _place_reward(center: Float[Array, " 3"], target_pos: Float[Array, " 3"]) -> tuple[Array, Array]:
    """How near the nut is to a funnel over the peg, and whether it is around the peg; the funnel's neck is wider
    then."""
    radius = jnp.linalg.norm(target_pos[:2] - center[:2])
    success = (radius < ALIGNED_RADIUS) & (target_pos[2] > center[2])
    neck = jnp.where(success, 0.02, 0.01)
    outside = radius > neck
    height = jnp.where(outside, 0.02 * jnp.log(jnp.where(outside, radius - neck, 1.0)) + 0.2, 0.0)
    error = jnp.array([*(target_pos[:2] - center[:2]), 3.0 * (height - center[2])])
    lifted = (center[2] > 0.02) | (radius < neck)
    near = tolerance(jnp.linalg.norm(error), 0.0, 0.02, 0.4, "long_tail")
    return 0.1 * lifted + 0.9 * near, success
