"""hand-insert: grasp the cube and put the hand with it into the hole in the table.

Source: metaworld 3.0.0, `sawyer_hand_insert_v3.py`. Version 1 never succeeds: it measures from
the cube's initial position.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, v1_reach_and_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, terms
from rcjax.envs.metaworld.scenes.table_hole import TABLE_HOLE_SCENE
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.05  # metres


class HandInsert(PuckScene):
    """The goal is in the hole, 2 cm below its bottom. The cube starts 2 cm inside the table,
    which pushes it out."""

    task = "hand-insert"
    scene = TABLE_HOLE_SCENE
    mocap_low = (-0.5, 0.40, -0.15)
    goal_low = (-0.04, 0.8, -0.0201)
    goal_high = (0.04, 0.88, -0.0199)
    random_low = (-0.1, 0.6, 0.05, *goal_low)
    random_high = (0.1, 0.7, 0.05, *goal_high)
    prompt = "robot inserting hand into hole"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        cube_pos, target_pos = np.split(random_vector, 2)
        place_free(data, cube_pos)
        return Placement(target_pos=target_pos, object_init_pos=cube_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the cube and its quaternion w x y z."""
        return jnp.concatenate([self.body_pos(poses, "obj"), self.body_quat(poses, "obj")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place and, with the fingertips at the cube, the place once more; 10 at the goal."""
        cube = obs[4:7]
        to_cube, to_target = distance(cube, self.tcp(state.physics.poses)), distance(cube, state.task.target_pos)
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        grasped = self.caging(
            state, action, cube,
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.05, xz_thresh=0.005, density="high",
        )  # fmt: skip
        at_cube = (to_cube < 0.02) & (obs[3] > 0)
        reward = hamacher_product(grasped, in_place) + jnp.where(at_cube, 1.0 + 7.0 * in_place, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, TARGET_RADIUS, to_cube, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the fingertips above the goal, then their way down to it."""
        del obs, action
        task, tcp = state.task, self.tcp(state.physics.poses)
        max_depth = jnp.abs(self.hand_init_pos[2] - task.target_pos[2])
        depth = jnp.abs(tcp[2] - task.target_pos[2])
        reward = v1_reach_and_pull(distance(tcp[:2], task.target_pos[:2]), max_depth, depth)
        return reward, terms(distance(task.object_init_pos, task.target_pos), TARGET_RADIUS)
