"""faucet-open: turn the tap's handle to the right.

Source: metaworld 3.0.0, `sawyer_faucet_open_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance, v1_reach_and_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.faucet import HANDLE_LENGTH, FaucetScene, faucet_scene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.07  # metres
REACH_RADIUS = 0.01


class FaucetOpen(FaucetScene):
    """The goal is the end of the handle when it points along +x."""

    task = "faucet-open"
    scene = faucet_scene("goal_open")
    random_low = (-0.05, 0.8, 0.0)
    random_high = (0.05, 0.85, 0.0)
    prompt = "robot opening faucet"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_faucet(data, random_vector)
        target_pos = random_vector + np.array([HANDLE_LENGTH, 0.0, 0.125])
        return Placement(target_pos=target_pos, object_init_pos=random_vector)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """A point by the handle's end, and the base's quaternion w x y z."""
        end = self.site_pos(poses, "handleStartOpen") + jnp.array([0.0, 0.0, -0.01])
        return jnp.concatenate([end, self.body_quat(poses, "faucetBase")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Reach and place; 10 once open."""
        del action
        task, handle = state.task, obs[4:7] + jnp.array([-0.04, 0.0, 0.03])
        to_target, to_handle = distance(handle, task.target_pos), distance(handle, self.tcp(state.physics.poses))
        place_margin = jnp.abs(distance(task.object_init_pos, task.target_pos) - TARGET_RADIUS)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail")
        reach_margin = jnp.abs(distance(task.object_init_pos, task.init_tcp) - REACH_RADIUS)
        reach = tolerance(to_handle, 0.0, REACH_RADIUS, reach_margin, "gaussian")
        opened = to_target <= TARGET_RADIUS
        return jnp.where(opened, 10.0, 4.0 * reach + 6.0 * in_place), {
            "success": opened,
            "near_object": to_handle <= 0.01,
            "grasp_success": 1.0,
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, handle = state.task, obs[4:7]
        to_target = distance(handle, task.target_pos)
        max_pull = distance(task.target_pos, task.object_init_pos)
        reward = v1_reach_and_pull(distance(handle, self.tcp(state.physics.poses)), max_pull, to_target)
        return reward, {
            "success": to_target <= TARGET_RADIUS,
            "near_object": 1.0,
            "grasp_success": 1.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": to_target,
        }
