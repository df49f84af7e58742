"""The box with a big red button, for the four button-press tasks."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import TABLE, Proxy, SceneSpec

TOPDOWN_SUCCESS_Z = 0.024  # metres
TOPDOWN_REACH_RADIUS = 0.03

_CAP = Proxy("cap", "button", "box", (0.038, 0.011, 0.038), (0.0, -0.183, 0.0))
_BOX = (
    _CAP,
    Proxy("case", "box", "box", (0.12, 0.102, 0.12), (0.0, 0.012, 0.0), role="scenery"),
    TABLE,
)
_WALL = Proxy("wall", "wall", "box", (0.1, 0.01, 0.075), (0.0, 0.0, 0.075), role="scenery")


def button_scene(variant: str) -> SceneSpec:
    """The scene in Metaworld's file `sawyer_button_{variant}.xml`."""
    walls = (_WALL,) if variant.endswith("wall") else ()
    return SceneSpec(
        xml=f"sawyer_xyz/sawyer_button_{variant}.xml",
        placed_bodies=("box",),
        proxies=(*_BOX, *walls),
        goal_sites=(),
    )


class ButtonScene(SawyerEnv):
    """Subclasses give the scene, in which the box stands or lies on its back."""

    hand_init_pos = (0.0, 0.4, 0.2)

    def place_box(self, data: mujoco.MjData, pos: np.ndarray) -> None:
        """Puts the box at `pos` with the button out, and brings the kinematics up to date."""
        data.mocap_pos[self.mocap_id("box")] = pos
        data.joint("btnbox_joint").qpos[:] = 0.0
        data.joint("btnbox_joint").qvel[:] = 0.0
        mujoco.mj_kinematics(self.mj_model, data)

    def button_pose(self, poses: Poses, offset: tuple[float, float, float]) -> Float[Array, " 7"]:
        """Position of the button's face, at `offset` from its body's origin, and its quaternion w x y z."""
        face = self.body_pos(poses, "button") + jnp.asarray(offset)
        return jnp.concatenate([face, self.body_quat(poses, "button")])


class TopdownScene(ButtonScene):
    """The box lies on its back with the button on top; the goal is the hole that the button goes into.

    The reset leaves the button where its weight has pushed it. Source: metaworld 3.0.0,
    `sawyer_button_press_topdown_v3.py`.
    """

    random_low = (-0.1, 0.8, 0.115)
    random_high = (0.1, 0.9, 0.115)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        data.mocap_pos[self.mocap_id("box")] = random_vector
        mujoco.mj_kinematics(self.mj_model, data)
        target_pos = data.site("hole").xpos.copy()
        travel = abs(target_pos[2] - data.site("buttonStart").xpos[2])
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants={"travel": travel})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return self.button_pose(poses, (0.0, 0.0, 0.193))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards closed fingers near the button and, once they are there, how far it is pressed in."""
        del action
        task, button = state.task, obs[4:7]
        to_button = distance(button, self.tcp(state.physics.poses))
        to_target = jnp.abs(task.target_pos[2] - button[2])
        near = tolerance(to_button, 0.0, 0.01, distance(button, task.init_tcp), "long_tail")
        pressed = tolerance(to_target, 0.0, 0.005, task.constants["travel"], "long_tail")
        reward = 5.0 * hamacher_product(1.0 - obs[3], near)
        return reward + jnp.where(to_button <= TOPDOWN_REACH_RADIUS, 5.0 * pressed, 0.0), {
            "success": to_target <= TOPDOWN_SUCCESS_Z,
            "near_object": to_button <= 0.05,
            "grasp_success": obs[3] > 0,
            "grasp_reward": near,
            "in_place_reward": pressed,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, button = state.task, obs[4:7]
        to_target = jnp.abs(button[2] - task.target_pos[2])
        reach = distance(button, self.tcp(state.physics.poses))
        reward = v1_reach_and_pull(reach, task.constants["travel"], to_target)
        return reward, v1_terms(to_target, TOPDOWN_SUCCESS_Z)
