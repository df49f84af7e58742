"""door-close: push the box's open door shut.

Source: metaworld 3.0.0, `sawyer_door_close_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import Terms, distance, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.door import DoorScene
from rcjax.envs.mjx_env import EnvState

OPEN_ANGLE = -1.5708  # radians
TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.08


class DoorClose(DoorScene):
    """The door stands open at a right angle; the goal is its handle's place when it is shut."""

    task = "door-close"
    hand_init_pos = (-0.5, 0.6, 0.2)
    goal_low = (0.2, 0.65, 0.1499)
    goal_high = (0.3, 0.75, 0.1501)
    prompt = "robot closing black box"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_door(data, random_vector, angle=OPEN_ANGLE)
        target_pos = random_vector + np.array([0.2, -0.2, 0.0])
        constants = {"max_pull": self.max_pull(data, target_pos)}
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the hand and the handle at the target; 10 once the door is shut."""
        del action
        task, tcp, handle = state.task, self.tcp(state.physics.poses), obs[4:7]
        to_target = distance(handle, task.target_pos)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, distance(task.object_init_pos, task.target_pos), "gaussian")
        hand_margin = distance(jnp.asarray(self.hand_init_pos), handle) + 0.1
        to_hand = distance(tcp, task.target_pos)
        hand_in_place = tolerance(to_hand, 0.0, 0.25 * TARGET_RADIUS, hand_margin, "gaussian")
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, 3.0 * hand_in_place + 6.0 * in_place)
        return reward, _terms(to_target, hand_in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        reward, to_target = self.pull_v1(state, obs)
        return reward, _terms(to_target, 0.0)


def _terms(to_target: Array, hand_in_place: Array | float) -> Terms:
    return {
        "success": to_target <= SUCCESS_RADIUS,
        "near_object": 0.0,
        "grasp_success": 1.0,
        "grasp_reward": 1.0,
        "in_place_reward": hand_in_place,
        "obj_to_target": to_target,
    }
