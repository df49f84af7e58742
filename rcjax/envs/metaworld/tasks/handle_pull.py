"""handle-pull: pull a handle up.

Source: metaworld 3.0.0, `sawyer_handle_pull_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.handle import FRONT_SCENE, HandleScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

SUCCESS_RADIUS = GOAL_RADIUS = 0.05  # metres along z


class HandlePull(HandleScene):
    """The handle points to the robot and is down; the goal is 10 cm higher."""

    task = "handle-pull"
    scene = FRONT_SCENE
    goal_low = (-0.1, 0.55, 0.04)
    goal_high = (0.1, 0.70, 0.18)
    random_low = (-0.1, 0.8, -0.001)
    random_high = (0.1, 0.9, 0.001)
    prompt = "robot pulling handle up"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_handle(data, random_vector, height=0.1)
        target_pos = data.site("goalPull").xpos.copy()
        # As in the official code: from the height that the XML gives, which is relative to the handle.
        travel = abs(self.mj_model.site("handleStart").pos[2] - target_pos[2])
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants={"travel": travel})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return self.point_pose(poses, "handleRight")

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more with the hand at the handle; 10 at the goal. Only the height counts."""
        task, handle = state.task, obs[4:7]
        to_target = jnp.abs(task.target_pos[2] - handle[2])
        margin = jnp.abs(task.target_pos[2] - task.object_init_pos[2])
        in_place = tolerance(to_target, 0.0, GOAL_RADIUS, margin, "long_tail")
        grasped = self.caging(
            state, action, handle,
            object_reach_radius=0.01, obj_radius=0.022, pad_success_thresh=0.05, xz_thresh=0.01,
            density="high",
        )  # fmt: skip
        to_handle = distance(handle, self.tcp(state.physics.poses))
        open_, start_z = obs[3] > 0, task.object_init_pos[2]
        # As in the official code: y, which is always above the start's z. So this only asks for an open hand at the
        # handle.
        lifted = (to_handle < 0.035) & open_ & (handle[1] - 0.01 > start_z)
        reward = hamacher_product(grasped, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
        return jnp.where(to_target < GOAL_RADIUS, 10.0, reward), {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_handle <= 0.05,
            "grasp_success": open_ & (handle[2] - 0.03 > start_z),
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        reward, to_target = self.finger_v1(state, obs, axis=2, max_distance=state.task.constants["travel"])
        return reward, v1_terms(to_target, SUCCESS_RADIUS)
