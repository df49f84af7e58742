"""sweep-into: grasp the cube and sweep it into the hole in the table.

Source: metaworld 3.0.0, `sawyer_sweep_into_goal_v3.py`.
"""

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import MIN_DISTANCE, PuckScene
from rcjax.envs.metaworld.scenes.table_hole import CUBE_REST_HEIGHT, TABLE_HOLE_SCENE
from rcjax.envs.metaworld.tasks.sweep import FALLEN_BY, Sweep
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_POS = (0.0, 0.84, 0.02)  # metres, the middle of the hole


class SweepInto(Sweep):
    """The hole lies behind the cube."""

    task = "sweep-into"
    scene = TABLE_HOLE_SCENE
    goal_low = (-0.001, 0.8399, 0.0199)
    goal_high = (0.001, 0.8401, 0.0201)
    random_low = (-0.1, 0.6, 0.02, *goal_low)
    random_high = (0.1, 0.7, 0.02, *goal_high)
    prompt = "robot sweeping cube into hole"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - np.array(TARGET_POS[:2])) >= MIN_DISTANCE)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Puts the cube at the height at which it settles; the goal is fixed, whatever the vector says."""
        cube_pos = np.array([*random_vector[:2], CUBE_REST_HEIGHT])
        place_free(data, cube_pos)
        return Placement(target_pos=np.array(TARGET_POS), object_init_pos=cube_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return PuckScene.object_pose(self, poses)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Like sweep's reward, with the target at the cube's present height."""
        del action
        grasped = self.pinching(state, obs[4:7], radius=0.02, slack=0.005, xz_thresh=0.01)
        return self.sweep_v2(state, obs, state.task.target_pos.at[2].set(obs[6]), grasped)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        on_the_table = (obs[5] > 0.4) & (obs[5] < 1.0)
        return self.sweep_v1(state, obs, (obs[6] < state.task.object_init_pos[2] - FALLEN_BY) & on_the_table)
