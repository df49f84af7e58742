"""stick-pull: grasp the stick, put it through the thermos' handle and pull the thermos.

Source: metaworld 3.0.0, `sawyer_stick_pull_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.stick import STICK_HEIGHT, THERMOS_POS, StickScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.12


class StickPull(StickScene):
    """The stick lies left of the thermos; the goal is to the right and nearer to the robot."""

    task = "stick-pull"
    mocap_low = (-0.5, 0.35, 0.05)
    goal_low = (0.35, 0.45, 0.0199)
    goal_high = (0.45, 0.55, 0.0201)
    random_low = (-0.1, 0.55, 0.0, *goal_low)
    random_high = (0.0, 0.65, 0.001, *goal_high)
    prompt = "robot pulling thermos with stick"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        stick_pos = np.array([*random_vector[:2], STICK_HEIGHT])
        place_free(data, stick_pos)
        self.place_thermos(data, y=0.09)
        target_pos = np.array([*random_vector[3:5], STICK_HEIGHT])
        # Caging is scaled by the thermos' position, as in the official code.
        return Placement(target_pos=target_pos, object_init_pos=THERMOS_POS, constants={"stick_init_pos": stick_pos})

    def object_pose(self, poses: Poses) -> Float[Array, " 14"]:
        """Pose of the stick, and position of the inside of the thermos' handle."""
        return self.stick_and_thermos(poses, self.site_pos(poses, "insertion"))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards grasp times the stick's place, more once it is lifted.

        Once the stick is in the handle, the nearness to the goal counts too; 10 at the goal.
        """
        task, stick, handle = state.task, obs[4:7], obs[11:14]
        target, start = task.target_pos, task.constants["stick_init_pos"]
        beside = jnp.array([0.05, 0.0, 0.0])
        to_stick, to_target = distance(stick, self.tcp(state.physics.poses)), distance(handle, target)
        scale = jnp.array([1.0, 1.0, 2.0])
        margin = distance(start * scale, (jnp.asarray(THERMOS_POS) + beside) * scale)
        stick_in_place = _near(distance(stick * scale, (handle + beside) * scale), margin)
        stick_at_goal = _near(distance(stick, target), distance(start, target))
        thermos_at_goal = _near(distance(handle + beside, target), distance(jnp.asarray(THERMOS_POS), target))
        caging = self.caging(
            state, action, stick,
            obj_radius=0.014, pad_success_thresh=0.05, object_reach_radius=0.01, xz_thresh=0.01, density="high",
        )  # fmt: skip
        lifted = (to_stick < 0.02) & (obs[3] > 0) & (stick[2] - 0.01 > STICK_HEIGHT)
        grasped = jnp.where(lifted, 1.0, caging)
        reward = hamacher_product(grasped, stick_in_place)
        inserted = self.inserted(state.physics.poses, handle)
        pulling = jnp.where(to_target <= SUCCESS_RADIUS, 10.0, reward + 6.0 + 2.0 * stick_at_goal + thermos_at_goal)
        bringing = jnp.where(inserted, pulling, reward + 1.0 + 5.0 * stick_in_place)
        return jnp.where(lifted, bringing, reward), {
            "success": (to_target <= SUCCESS_RADIUS) & inserted,
            "near_object": to_stick <= 0.03,
            "grasp_reward": grasped,
            "in_place_reward": stick_in_place,
            "obj_to_target": to_target,
        }

    def inserted(self, poses: Poses, handle: Float[Array, " 3"]) -> Bool[Array, ""]:
        """Whether the stick's end is through the handle."""
        end = self.site_pos(poses, "stick_end")
        return (end[0] >= handle[0]) & (jnp.abs(end[1] - handle[1]) <= 0.040) & (jnp.abs(end[2] - handle[2]) <= 0.060)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        reward, to_goal = self.stick_v1(state, obs, action, widths=(0.01, 0.001))
        handle = obs[11:14]
        at_goal = distance(handle, state.task.target_pos) <= SUCCESS_RADIUS
        return reward, {
            "success": at_goal & self.inserted(state.physics.poses, handle),
            "near_object": 1.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": to_goal,
        }


def _near(apart: Float[Array, ""], margin: Float[Array, ""]) -> Float[Array, ""]:
    return tolerance(apart, 0.0, TARGET_RADIUS, margin, "long_tail")
