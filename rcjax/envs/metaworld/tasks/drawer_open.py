"""drawer-open: hook the green drawer's handle and pull it out.

Source: metaworld 3.0.0, `sawyer_drawer_open_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.drawer import DrawerScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

OPEN_BY = 0.2  # metres from the handle of the shut drawer to the goal; the joint ends at 0.16
SUCCESS_RADIUS = 0.03


class DrawerOpen(DrawerScene):
    """The drawer is shut; the goal lies 20 cm in front of its handle."""

    task = "drawer-open"
    prompt = "robot opening green drawer"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("drawer")] = random_vector
        target_pos = random_vector + np.array([0.0, -0.16 - OPEN_BY, 0.09])
        return Placement(target_pos=target_pos, object_init_pos=random_vector)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the handle, and the drawer's quaternion w x y z."""
        handle = self.body_pos(poses, "drawer_link") + jnp.array([0.0, -0.16, 0.0])
        return jnp.concatenate([handle, self.body_quat(poses, "drawer_link")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards opening and caging the handle by halves; in the caging, x and y count three times as much as z."""
        del action
        target_pos, hand, handle = state.task.target_pos, obs[:3], obs[4:7]
        to_target, to_hand = distance(handle, target_pos), distance(handle, hand)
        opening = tolerance(to_target, 0.0, 0.02, OPEN_BY, "long_tail")
        scale = jnp.array([3.0, 3.0, 1.0])
        handle_init_pos = target_pos + jnp.array([0.0, OPEN_BY, 0.0])
        error = distance(handle * scale, hand * scale)
        caging = tolerance(
            error, 0.0, 0.01, distance(handle_init_pos * scale, state.task.init_tcp * scale), "long_tail"
        )
        return 5.0 * (caging + opening), {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_hand <= 0.03,
            "grasp_success": obs[3] > 0,
            "grasp_reward": caging,
            "in_place_reward": opening,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        handle = obs[4:7]
        to_target = jnp.abs(handle[1] - state.task.target_pos[1])
        reward = v1_reach_and_pull(distance(handle, self.tcp(state.physics.poses)), OPEN_BY, to_target)
        return reward, v1_terms(to_target, SUCCESS_RADIUS)
