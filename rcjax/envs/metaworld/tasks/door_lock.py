"""door-lock: turn the bolt down.

Source: metaworld 3.0.0, `sawyer_door_lock_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.lock import LOCK_LENGTH, SUCCESS_RADIUS, LockScene
from rcjax.envs.mjx_env import EnvState

AXIS_WEIGHTS = (0.25, 1.0, 0.5)  # of x, y, z in the distance between finger and bolt
TARGET_OFFSET = np.array([0.0, -0.04, -0.1])  # metres from the bolt's axis


class DoorLock(LockScene):
    """The bolt points to the right; the goal is its end when it points down."""

    task = "door-lock"
    bolt_site = "lockStartLock"
    further_steps = 1
    prompt = "robot locking door"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        axis = self.place_door(data, random_vector)
        constants = {"max_pull": np.linalg.norm(TARGET_OFFSET)}
        return Placement(target_pos=axis + TARGET_OFFSET, object_init_pos=axis, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards open fingers at the bolt, and how far it is turned down.

        The official margin of the reach is the left pad's present distance, not the one at reset.
        """
        del action
        bolt, left_pad = obs[4:7], self.site_pos(state.physics.poses, "leftpad")
        weights = jnp.asarray(AXIS_WEIGHTS)
        to_bolt = distance(bolt * weights, left_pad * weights)
        to_target = jnp.abs(state.task.target_pos[2] - bolt[2])
        near = tolerance(to_bolt, 0.0, 0.01, to_bolt, "long_tail")
        turned = tolerance(to_target, 0.0, 0.005, LOCK_LENGTH, "long_tail")
        return 2.0 * hamacher_product(jnp.maximum(obs[3], 0.0), near) + 8.0 * turned, {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_bolt <= 0.05,
            "grasp_success": obs[3] > 0,
            "grasp_reward": near,
            "in_place_reward": turned,
            "obj_to_target": to_target,
        }
