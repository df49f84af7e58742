"""dial-turn: turn the dial, which lies on the table, clockwise.

Source: metaworld 3.0.0, `sawyer_dial_turn_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import FINGER_CORNERS
from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import TABLE, Proxy, SceneSpec

TARGET_RADIUS = 0.07  # metres
REACH_RADIUS = 0.005
DIAL_RADIUS = 0.05
MAX_PULL = 0.03  # metres along y from the dial to its goal
PUSH_OFFSET = np.array([0.05, 0.02, 0.09])  # metres from the dial's mark to where the fingers push

_KNOB = Proxy("knob", "knob_Joint_1", "box", (0.015, 0.046, 0.015), (0.0, 0.0, 0.051), role="internal")


class DialTurn(SawyerEnv):
    """The dial lies on the table, its mark towards the robot; the goal is behind its axis."""

    task = "dial-turn"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_dial.xml",
        placed_bodies=("dial",),
        proxies=(
            _KNOB,
            *FINGER_CORNERS,
            Proxy("foot", "dial", "box", (0.042, 0.042, 0.018), (0.0, 0.0, 0.018), role="scenery"),
            TABLE,
        ),
        extra_pairs=contact_pairs(FINGER_CORNERS, (_KNOB,)),
    )
    goal_low = (-0.1, 0.73, 0.0299)
    goal_high = (0.1, 0.83, 0.0301)
    random_low = (-0.1, 0.7, 0.0)
    random_high = (0.1, 0.8, 0.0)
    prompt = "robot turning dial"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("dial")] = random_vector
        target_pos = random_vector + np.array([0.0, MAX_PULL, 0.03])
        angle = data.joint("knob_Joint_1").qpos[0]
        mark = random_vector + DIAL_RADIUS * np.array([np.sin(angle), -np.cos(angle), 0.0])
        constants = {"push_init": mark + PUSH_OFFSET}
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants=constants)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of a point on the dial's rim at its mark, and the base's quaternion w x y z."""
        w, _, _, z = poses.body_quat[self.mj_model.joint("knob_Joint_1").bodyid[0]]
        towards_mark = jnp.stack([2.0 * w * z, z * z - w * w, jnp.zeros(())])
        mark = self.body_pos(poses, "dial") + DIAL_RADIUS * towards_mark
        return jnp.concatenate([mark, self.body_quat(poses, "dial")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards closed fingers beside the mark, times place."""
        task, mark = state.task, obs[4:7]
        push_init = task.constants["push_init"]
        to_target = distance(mark, task.target_pos)
        to_push = distance(mark + jnp.asarray(PUSH_OFFSET), self.tcp(state.physics.poses))
        place_margin = jnp.abs(distance(push_init, task.target_pos) - TARGET_RADIUS)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail")
        reach_margin = jnp.abs(distance(push_init, task.init_tcp) - REACH_RADIUS)
        near = tolerance(to_push, 0.0, REACH_RADIUS, reach_margin, "gaussian")
        reach = hamacher_product(near, jnp.clip(action[3], 0.0, 1.0))
        return 10.0 * hamacher_product(reach, in_place), {
            "success": to_target <= TARGET_RADIUS,
            "near_object": to_push <= 0.01,
            "grasp_success": 1.0,
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Like `rewards.v1_reach_and_pull`, with a narrower pull."""
        del action
        mark = obs[4:7]
        d, reach = jnp.abs(mark[1] - state.task.target_pos[1]), distance(mark, self.tcp(state.physics.poses))
        pull = 1000.0 * (MAX_PULL - d + jnp.exp(-(d**2) / 0.001) + jnp.exp(-(d**2) / 0.0001))
        return jnp.where(reach < 0.05, jnp.maximum(pull, 0.0), 0.0) - reach, v1_terms(
            d, TARGET_RADIUS, grasp_success=1.0
        )
