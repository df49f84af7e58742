"""The tap with a long handle, for faucet-open and faucet-close."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import BASE_LEFT, BASE_RIGHT, FINGER_EDGES, contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_Y, TABLE, Proxy, SceneSpec

TARGET_RADIUS = 0.07  # metres
REACH_RADIUS = 0.01
HANDLE_LENGTH = 0.175
_HANDLE = Proxy("handle", "faucet_link2", "capsule", (0.017, 0.055), (0.0, -0.12, 0.001), ALONG_Y, role="internal")
_HAND = (*FINGER_EDGES, *BASE_RIGHT, *BASE_LEFT)


def faucet_scene(goal_site: str) -> SceneSpec:
    return SceneSpec(
        xml="sawyer_xyz/sawyer_faucet.xml",
        placed_bodies=("faucetBase",),
        proxies=(
            _HANDLE,
            *_HAND,
            TABLE,
        ),
        extra_pairs=contact_pairs(_HAND, (_HANDLE,)),
        goal_sites=(goal_site,),
    )


class FaucetScene(SawyerEnv):
    """The handle points to the robot and turns a quarter to either side.

    Subclasses say on which side the goal is, which site near the handle's end is observed, and at which offset from it
    version 2 of the reward measures.
    """

    side: float  # 1 or -1: the direction of the goal along x
    handle_site: str
    reward_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    hand_init_pos = (0.0, 0.4, 0.2)
    mocap_low = (-0.5, 0.40, -0.15)
    goal_low = mocap_low

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("faucetBase")] = random_vector
        target_pos = random_vector + np.array([self.side * HANDLE_LENGTH, 0.0, 0.125])
        return Placement(target_pos=target_pos, object_init_pos=random_vector)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of a point at the handle's end, and the base's quaternion w x y z."""
        end = self.site_pos(poses, self.handle_site) + jnp.array([0.0, 0.0, -0.01])
        return jnp.concatenate([end, self.body_quat(poses, "faucetBase")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reach and place; 10 once the handle is turned."""
        del action
        task, handle = state.task, obs[4:7] + jnp.asarray(self.reward_offset)
        to_target, to_handle = distance(handle, task.target_pos), distance(handle, self.tcp(state.physics.poses))
        place_margin = jnp.abs(distance(task.object_init_pos, task.target_pos) - TARGET_RADIUS)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail")
        reach_margin = jnp.abs(distance(task.object_init_pos, task.init_tcp) - REACH_RADIUS)
        reach = tolerance(to_handle, 0.0, REACH_RADIUS, reach_margin, "gaussian")
        turned = to_target <= TARGET_RADIUS
        return jnp.where(turned, 10.0, 4.0 * reach + 6.0 * in_place), {
            "success": turned,
            "near_object": to_handle <= 0.01,
            "grasp_success": 1.0,
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, handle = state.task, obs[4:7]
        to_target = distance(handle, task.target_pos)
        max_pull = distance(task.target_pos, task.object_init_pos)
        reward = v1_reach_and_pull(distance(handle, self.tcp(state.physics.poses)), max_pull, to_target)
        return reward, v1_terms(to_target, TARGET_RADIUS, grasp_success=1.0)
