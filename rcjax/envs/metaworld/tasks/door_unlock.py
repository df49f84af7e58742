"""door-unlock: turn the bolt to the right.

Source: metaworld 3.0.0, `sawyer_door_unlock_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.lock import LOCK_LENGTH, SUCCESS_RADIUS, LockScene
from rcjax.envs.mjx_env import EnvState

AXIS_WEIGHTS = (0.25, 1.0, 0.5)  # of x, y, z in the distance between hand and bolt
SHOULDER = (0.0, 0.055, 0.07)  # metres, from the hand's origin to the point of it that pushes
TARGET_OFFSET = np.array([0.1, -0.04, 0.0])  # metres from the bolt's axis
LOCKED_ANGLE = 1.5708  # radians


class DoorUnlock(LockScene):
    """The bolt points down; the goal is its end when it points to the right."""

    task = "door-unlock"
    bolt_site = "lockStartUnlock"
    goal_low = (0.0, 0.64, 0.21)
    goal_high = (0.2, 0.7, 0.2111)
    prompt = "robot unlocking door"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        joint = self.mj_model.body("lock_link").jntadr[0]
        data.qpos[self.mj_model.jnt_qposadr[joint]] = LOCKED_ANGLE
        data.qvel[self.mj_model.jnt_dofadr[joint]] = 0.0
        axis = self.place_door(data, random_vector)
        constants = {"max_pull": np.linalg.norm(TARGET_OFFSET)}
        return Placement(target_pos=axis + TARGET_OFFSET, object_init_pos=axis, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the hand's shoulder at the bolt, and how far the bolt is turned."""
        del action
        task, bolt = state.task, obs[4:7]
        shoulder, weights = jnp.asarray(SHOULDER), jnp.asarray(AXIS_WEIGHTS)
        to_bolt = jnp.linalg.norm((obs[:3] + shoulder - bolt) * weights)
        at_start = jnp.linalg.norm((task.init_tcp + shoulder - task.object_init_pos) * weights)
        to_target = jnp.abs(task.target_pos[0] - bolt[0])
        ready = tolerance(to_bolt, 0.0, 0.02, at_start, "long_tail")
        turned = tolerance(to_target, 0.0, 0.005, LOCK_LENGTH, "long_tail")
        return 2.0 * ready + 8.0 * turned, {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_bolt <= 0.05,
            "grasp_success": obs[3] > 0,
            "grasp_reward": ready,
            "in_place_reward": turned,
            "obj_to_target": to_target,
        }
