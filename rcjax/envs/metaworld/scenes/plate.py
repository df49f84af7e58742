"""The puck and the cabinet, for the four plate-slide tasks."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Reward, SawyerEnv
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.07


# The puck's two joints keep it flat on the table, on which it slides without friction, as in the official scene. So it
# does not collide with the table. A finger presses it with its tip or pushes it with its narrow side. The official
# finger has eight contacts there, and fewer would be softer, as each adds its own stiffness. So several spheres are at
# the same place.
_PUCK = Proxy("puck", "goal_slidex", "box", (0.05, 0.05, 0.015), role="internal")
_CORNERS = ((0.0005, -0.0115), (0.0025, -0.0115), (0.0005, 0.0115), (0.0025, 0.0115))
_TIPS = tuple(
    tip
    for side, inwards in (("right", 1.0), ("left", -1.0))
    for i, (y, z) in enumerate(_CORNERS)
    for tip in (
        Proxy(f"{side}_corner{i}", f"{side}claw", "sphere", (0.0035,), (0.0415, inwards * y, z), role="internal"),
        Proxy(f"{side}_tip{i}", f"{side}claw", "sphere", (0.015,), (0.03, inwards * 0.0015, 0.0), role="internal"),
    )
)
# The parts of the cabinet's posts, rails and back wall that the puck collides with, at the puck's height.
_RAILS = tuple(
    Proxy(f"rail{i}", "puck_goal", "sphere", (0.008,), (x, y, 0.015), role="internal")
    for i, (x, y) in enumerate(
        ((-0.1, -0.0685), (0.1, -0.0685), (-0.1, 0.0), (0.1, 0.0), (-0.06, 0.077), (0.0, 0.077), (0.06, 0.077))
    )
)
# The cabinet's top, with the rail at its front edge; the hand comes down on it or runs into its edge.
_TOP = Proxy("top", "puck_goal", "box", (0.107, 0.0765, 0.008), (0.0, 0.0, 0.174), role="scenery")


def plate_scene(xml: str, placed_bodies: tuple[str, ...] = ()) -> SceneSpec:
    return SceneSpec(
        xml=xml,
        placed_bodies=placed_bodies,
        proxies=(
            _PUCK,
            TABLE,
            *_TIPS,
            *_RAILS,
            _TOP,
        ),
        extra_pairs=(
            *(Pair(tip.name, "puck", friction=HAND_FRICTION, margin=MARGIN) for tip in _TIPS),
            *(Pair(rail.name, "puck", condim=1) for rail in _RAILS),
        ),
    )


class PlateScene(SawyerEnv):
    """The fingers press the puck on the table and drag it."""

    def place_puck(self, data: mujoco.MjData, x: float, y: float) -> None:
        """Puts the puck, at rest, `x` and `y` metres from (0, 0.6), and brings the kinematics up to date."""
        data.joint("goal_slidex").qpos[:] = x
        data.joint("goal_slidey").qpos[:] = y
        data.joint("goal_slidex").qvel[:] = 0.0
        data.joint("goal_slidey").qvel[:] = 0.0
        mujoco.mj_kinematics(self.mj_model, data)

    def max_pull(self, data: mujoco.MjData, target_pos: np.ndarray) -> float:
        """Horizontal distance from the puck to the target, metres."""
        return float(np.linalg.norm(data.geom("puck").xpos[:2] - target_pos[:2]))

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.geom_pos(poses, "puck"), self.geom_quat_xyzw(poses, "puck")])

    def slide_terms(self, state: EnvState, obs: Float[Array, " 39"], margin_ends_at: float) -> dict[str, Array]:
        """Returns the terms of the reward: the puck at the target, and the fingertips at the puck.

        Each falls, outside of the target's radius, to 0.1 over its distance at reset minus `margin_ends_at` metres.
        """
        task, tcp, puck = state.task, self.tcp(state.physics.poses), obs[4:7]
        to_target, to_puck = distance(puck, task.target_pos), distance(tcp, puck)
        place_margin = distance(task.object_init_pos, task.target_pos) - margin_ends_at
        reach_margin = distance(task.init_tcp, task.object_init_pos) - margin_ends_at
        return {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_puck <= 0.03,
            "grasp_success": jnp.zeros(()),
            "grasp_reward": tolerance(to_puck, 0.0, TARGET_RADIUS, reach_margin, "long_tail"),
            "in_place_reward": tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail"),
            "obj_to_target": to_target,
        }

    def drag_reward(self, state: EnvState, obs: Float[Array, " 39"]) -> Reward:
        """The version "v2" reward of all tasks except plate-slide.

        It rewards the reach and, from 2 up with low fingertips at the puck, the puck's place; 10 at the goal.
        """
        tcp = self.tcp(state.physics.poses)
        terms = self.slide_terms(state, obs, margin_ends_at=TARGET_RADIUS)
        dragging = (tcp[2] <= 0.03) & (distance(tcp, obs[4:7]) < 0.07)
        reward = jnp.where(dragging, 2.0 + 7.0 * terms["in_place_reward"], 1.5 * terms["grasp_reward"])
        return jnp.where(terms["obj_to_target"] < TARGET_RADIUS, 10.0, reward), terms

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, puck = state.task, obs[4:7]
        to_target = distance(puck[:2], task.target_pos[:2])
        reach = distance(puck, self.tcp(state.physics.poses))
        reward = v1_reach_and_pull(reach, task.constants["max_pull"], to_target)
        return reward, v1_terms(to_target, SUCCESS_RADIUS)
