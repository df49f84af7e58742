"""door-open: pull the box's door open by its handle.

Source: metaworld 3.0.0, `sawyer_door_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import above_floor, distance, funnel, hamacher_product, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.door import DoorScene
from rcjax.envs.mjx_env import EnvState

SUCCESS_X = 0.08  # metres along x between handle and target
FUNNEL_RADIUS = 0.12


class DoorOpen(DoorScene):
    """The door is shut; the goal is its handle's place when it is open."""

    task = "door-open"
    goal_low = (-0.3, 0.4, 0.1499)
    goal_high = (-0.2, 0.5, 0.1501)
    prompt = "robot opening door"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_door(data, random_vector, angle=0.0)
        target_pos = random_vector + np.array([-0.3, -0.45, 0.0])
        constants = {"max_pull": self.max_pull(data, target_pos)}
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants=constants)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the hand ready behind the handle, the gripper closing and the door opening; 10 once it is open."""
        angle = self.joint_qpos(state, "doorjoint")  # negative when open
        grab = (jnp.clip(action[3], -1.0, 1.0) + 1.0) / 2.0
        ready = _ready_to_open(obs[:3], obs[4:7] + jnp.array([-0.05, 0.0, 0.0]))
        opening = tolerance(jnp.pi / 2 + jnp.pi / 6 + angle, 0.0, 0.5, jnp.pi / 3, "long_tail")
        opened = 0.2 * (angle < -jnp.pi / 90) + 0.8 * opening
        success = jnp.abs(obs[4] - state.task.target_pos[0]) <= SUCCESS_X
        reward = jnp.where(success, 10.0, 2.0 * hamacher_product(ready, grab) + 8.0 * opened)
        return reward, {
            "success": success,
            "near_object": ready,
            "grasp_success": grab >= 0.5,
            "grasp_reward": grab,
            "in_place_reward": opened,
            "obj_to_target": 0.0,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        reward, _ = self.pull_v1(state, obs)
        return reward, {
            "success": jnp.abs(obs[4] - state.task.target_pos[0]) <= SUCCESS_X,
            "near_object": 0.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": 0.0,
        }


def _ready_to_open(hand: Float[Array, " 3"], handle: Float[Array, " 3"]) -> Float[Array, ""]:
    """1 with the hand between handle and door; less below a funnel over the handle, where it would run into it."""
    radius = distance(hand[:2], handle[:2])
    floor = funnel(radius, FUNNEL_RADIUS, 0.04, 0.4)
    to_place = jnp.linalg.norm(hand - handle - jnp.array([0.05, 0.03, -0.01]))
    in_place = tolerance(to_place, 0.0, FUNNEL_RADIUS / 2, 0.5, "long_tail")
    return hamacher_product(above_floor(hand[2], floor, floor / 2.0), in_place)
