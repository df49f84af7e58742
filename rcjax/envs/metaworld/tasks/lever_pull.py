"""lever-pull: lift the lever until it stands upright.

Source: metaworld 3.0.0, `sawyer_lever_pull_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_reach_and_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import BASE_BOX, FINGER_EDGES, contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_Y, TABLE, Proxy, SceneSpec

LEVER_LENGTH = 0.2  # metres
AXIS = np.array([0.12, 0.0, 0.25])  # metres, from the lever's base to its axis
LEVER_START = AXIS + np.array([0.0, -LEVER_LENGTH, 0.0])
TARGET_OFFSET = AXIS + np.array([0.0, 0.0, LEVER_LENGTH])
AXIS_WEIGHTS = (4.0, 1.0, 4.0)  # of x, y, z in the distance between hand and lever
SHOULDER = (0.0, 0.055, 0.07)  # metres, from the hand's origin to the point of it that lifts
SUCCESS_ANGLE = np.pi / 24  # radians
_BALL = Proxy("ball", "lever_link1", "sphere", (0.03,), (0.0, -LEVER_LENGTH, 0.0))
_ROD = Proxy("rod", "lever_link1", "capsule", (0.012, 0.08), (0.0, -0.09, 0.0), ALONG_Y, role="internal")


class LeverPull(SawyerEnv):
    """The lever points to the robot; the goal is the place of its end when it stands upright."""

    task = "lever-pull"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_lever_pull.xml",
        placed_bodies=("lever",),
        proxies=(
            _BALL,
            _ROD,
            BASE_BOX,
            *FINGER_EDGES,
            Proxy("foot", "lever", "box", (0.041, 0.083, 0.166), (0.0, 0.0, 0.166), role="scenery"),
            TABLE,
        ),
        extra_pairs=(*contact_pairs((BASE_BOX,), (_BALL,)), *contact_pairs(FINGER_EDGES, (_ROD,))),
    )
    hand_init_pos = (0.0, 0.4, 0.2)
    mocap_low = (-0.5, 0.40, -0.15)
    goal_low = mocap_low
    random_low = (-0.1, 0.7, 0.0)
    random_high = (0.1, 0.8, 0.0)
    prompt = "robot pulling lever up"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("lever")] = random_vector
        constants = {"lever_init": random_vector + LEVER_START}
        target_pos = random_vector + TARGET_OFFSET
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants=constants)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.site_pos(poses, "leverStart"), self.geom_quat_xyzw(poses, "objGeom")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the hand's shoulder under the lever, times place. The angle only decides success."""
        del action
        task, lever, lever_init = state.task, obs[4:7], state.task.constants["lever_init"]
        shoulder, weights = jnp.asarray(SHOULDER), jnp.asarray(AXIS_WEIGHTS)
        to_lever = jnp.linalg.norm((obs[:3] + shoulder - lever) * weights)
        at_start = jnp.linalg.norm((task.init_tcp + shoulder - lever_init) * weights)
        ready = tolerance(to_lever, 0.0, 0.02, at_start, "long_tail")
        off_upright = jnp.abs(-self.joint_qpos(state, "LeverAxis") - jnp.pi / 2)
        lifted = tolerance(off_upright, 0.0, jnp.pi / 48, jnp.pi / 2 - jnp.pi / 12, "long_tail")
        place_margin = distance(lever_init, task.target_pos)
        in_place = tolerance(distance(lever, task.target_pos), 0.0, 0.04, place_margin, "long_tail")
        return 10.0 * hamacher_product(ready, in_place), {
            "success": off_upright <= SUCCESS_ANGLE,
            "near_object": to_lever < 0.03,
            "grasp_success": ready > 0.9,
            "grasp_reward": ready,
            "in_place_reward": lifted,
            "obj_to_target": to_lever,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the reach and the pull. Success compares metres with an angle, as in the official code."""
        del action
        task, lever = state.task, obs[4:7]
        to_target = distance(lever, task.target_pos)
        max_pull = distance(task.target_pos, task.object_init_pos)
        return v1_reach_and_pull(distance(lever, self.tcp(state.physics.poses)), max_pull, to_target), {
            "success": to_target <= SUCCESS_ANGLE,
            "near_object": 1.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": 0.0,
        }
