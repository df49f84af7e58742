"""stick-push: grasp the stick and push the thermos with it.

Source: metaworld 3.0.0, `sawyer_stick_push_v3.py`. The thermos drifts to the goal by itself there, so lifting the
stick is enough.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.stick import STICK_HEIGHT, THERMOS_POS, StickScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.12  # metres
GOAL_HEIGHT = 0.132  # of the thermos' handle


class StickPush(StickScene):
    """The stick lies left of the thermos; the goal is to the right of the thermos."""

    task = "stick-push"
    goal_low = (0.399, 0.55, 0.1319)
    goal_high = (0.401, 0.6, 0.1321)
    random_low = (-0.08, 0.58, 0.0, *goal_low)
    random_high = (-0.03, 0.62, 0.001, *goal_high)
    prompt = "robot pushing thermos with stick"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        stick_pos = np.array([*random_vector[:2], STICK_HEIGHT])
        place_free(data, stick_pos)
        self.place_thermos(data, y=0.0)
        return Placement(
            target_pos=np.array([*random_vector[3:5], GOAL_HEIGHT]),
            object_init_pos=stick_pos,
            constants={"stick_init_pos": stick_pos},
        )

    def object_pose(self, poses: Poses) -> Float[Array, " 14"]:
        """Pose of the stick, and position of a point of the thermos 9 cm behind the inside of its handle."""
        return self.stick_and_thermos(poses, self.site_pos(poses, "insertion") + jnp.array([0.0, 0.09, 0.0]))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging and, with the stick lifted, the places of stick and thermos.

        10 with the stick lifted and the thermos at the goal.
        """
        task, stick, thermos = state.task, obs[4:7] + jnp.array([0.015, 0.0, 0.0]), obs[11:14]
        to_stick, to_target = distance(stick, self.tcp(state.physics.poses)), distance(thermos, task.target_pos)
        stick_margin = distance(task.constants["stick_init_pos"], task.target_pos) - TARGET_RADIUS
        stick_in_place = tolerance(distance(stick, task.target_pos), 0.0, TARGET_RADIUS, stick_margin, "long_tail")
        thermos_margin = distance(jnp.asarray(THERMOS_POS), task.target_pos) - TARGET_RADIUS
        thermos_in_place = tolerance(to_target, 0.0, TARGET_RADIUS, thermos_margin, "long_tail")
        caging = self.caging(
            state, action, stick,
            obj_radius=0.04, pad_success_thresh=0.05, object_reach_radius=0.01, xz_thresh=0.01, density="high",
        )  # fmt: skip
        above_start = obs[6] - 0.01 > STICK_HEIGHT
        lifted = (to_stick < 0.02) & (obs[3] > 0) & above_start
        placed = jnp.where(to_target <= TARGET_RADIUS, 10.0, 2.0 + 5.0 * stick_in_place + 3.0 * thermos_in_place)
        grasp_success = self.pads_touch_stick(state.physics.poses) & (obs[3] > 0) & above_start
        return jnp.where(lifted, placed, caging), {
            "success": grasp_success & (to_target <= TARGET_RADIUS),
            "near_object": to_stick <= 0.03,
            "grasp_success": grasp_success,
            "grasp_reward": jnp.where(lifted, 1.0, caging),
            "in_place_reward": stick_in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """The reward of both stick tasks. It reports no success, as in the official code."""
        reward, to_goal = self.stick_v1(state, obs, action, widths=(0.001, 0.0001))
        return reward, {
            "success": 0.0,
            "near_object": 1.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": to_goal,
        }
