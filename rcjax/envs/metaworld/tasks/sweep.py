"""sweep: grasp the cube and sweep it to the right, off to the table's side.

Source: metaworld 3.0.0, `sawyer_sweep_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.cube import cube_scene
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, terms
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.05  # metres
FALLEN_BY = 0.05  # metres below its start at which version 1 takes the cube to have fallen


class Sweep(PuckScene):
    """The goal is half a metre to the right of the table's middle, at the cube's y. The cube is dropped from 2 cm."""

    task = "sweep"
    scene = cube_scene("sawyer_xyz/sawyer_sweep_v3.xml", bottom=0.0)
    goal_low = (0.49, 0.6, 0.0)
    goal_high = (0.51, 0.7, 0.02)
    random_low = (-0.1, 0.6, 0.02)
    random_high = (0.1, 0.7, 0.02)
    prompt = "robot sweeping cube to the right"

    def accepts(self, random_vector: np.ndarray) -> bool:
        del random_vector
        return True

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        place_free(data, random_vector)
        return Placement(target_pos=np.array([0.5, random_vector[1], 0.01]), object_init_pos=random_vector)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the middle of the cube's bottom, and its quaternion w x y z."""
        return jnp.concatenate([self.body_pos(poses, "obj"), self.body_quat(poses, "obj")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        grasped = self.pinching(state, obs[4:7], radius=0.02, slack=0.01, xz_thresh=0.005)
        return self.sweep_v2(state, obs, state.task.target_pos, grasped)

    def sweep_v2(
        self, state: EnvState, obs: Float[Array, " 39"], target_pos: Float[Array, " 3"], grasped: Float[Array, ""]
    ) -> Reward:
        """Rewards caging, and caging times place; 10 at the goal."""
        cube = obs[4:7]
        to_cube, to_target = distance(cube, self.tcp(state.physics.poses)), distance(cube, target_pos)
        margin = distance(state.task.object_init_pos, target_pos)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, margin, "long_tail")
        reward = 2.0 * grasped + 6.0 * hamacher_product(grasped, in_place)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, TARGET_RADIUS, to_cube, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.sweep_v1(state, obs, obs[6] < state.task.object_init_pos[2] - FALLEN_BY)

    def sweep_v1(self, state: EnvState, obs: Float[Array, " 39"], fallen: Array) -> Reward:
        """Rewards the reach and the pull. Both distances of a cube that has fallen count as 0."""
        task, cube = state.task, obs[4:7]
        to_cube = distance(cube, self.tcp(state.physics.poses))
        to_target = jnp.where(fallen, 0.0, distance(cube[:2], task.target_pos[:2]))
        max_push = distance(task.object_init_pos[:2], task.target_pos[:2])
        pull = jnp.where(to_cube < 0.05, v1_pull(max_push, to_target), 0.0)
        return pull - jnp.where(fallen, 0.0, to_cube), terms(to_target, TARGET_RADIUS)
