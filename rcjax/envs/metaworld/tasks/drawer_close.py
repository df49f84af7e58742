"""drawer-close: push the green drawer shut.

Source: metaworld 3.0.0, `sawyer_drawer_close_v3.py`. The class there defines `_TARGET_RADIUS` = 0.04 and never
reads it; the radius in effect is the inherited 0.05, and success allows 0.015 more.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.drawer import DrawerScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = TARGET_RADIUS + 0.015
REACH_RADIUS = 0.005
OPEN_BY = 0.15  # metres that the drawer is pulled out at reset


class DrawerClose(DrawerScene):
    """The drawer is open by 15 cm; the goal is its handle's place when it is shut."""

    task = "drawer-close"
    prompt = "robot closing green drawer"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("drawer")] = random_vector
        data.joint("goal_slidey").qpos[:] = -OPEN_BY
        return Placement(target_pos=random_vector + np.array([0.0, -0.16, 0.09]))

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of a point above the handle; zeros in place of a quaternion."""
        return jnp.pad(self.body_pos(poses, "drawer_link") + jnp.array([0.0, -0.16, 0.05]), (0, 4))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reach times place; 10 once the drawer is shut."""
        task, tcp, drawer = state.task, self.tcp(state.physics.poses), obs[4:7]
        to_target, to_drawer = distance(drawer, task.target_pos), distance(drawer, tcp)
        place_margin = jnp.abs(distance(task.object_init_pos, task.target_pos) - TARGET_RADIUS)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail")
        reach_margin = jnp.abs(distance(task.object_init_pos, task.init_tcp) - REACH_RADIUS)
        near = tolerance(to_drawer, 0.0, REACH_RADIUS, reach_margin, "gaussian")
        reach = hamacher_product(near, jnp.clip(action[3], 0.0, 1.0))
        success = to_target <= SUCCESS_RADIUS
        reward = 10.0 * jnp.where(success, 1.0, hamacher_product(reach, in_place))
        return reward, {
            "success": success,
            "near_object": to_drawer <= 0.01,
            "grasp_success": 1.0,
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        drawer = obs[4:7]
        to_target = jnp.abs(drawer[1] - state.task.target_pos[1])
        reward = v1_reach_and_pull(distance(drawer, self.tcp(state.physics.poses)), OPEN_BY, to_target)
        return reward, v1_terms(to_target, SUCCESS_RADIUS, grasp_success=1.0)
