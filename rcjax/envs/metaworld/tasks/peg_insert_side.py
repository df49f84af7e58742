"""peg-insert-side: put the peg into the hole in the box's side.

Source: metaworld 3.0.0, `sawyer_peg_insertion_side_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.pick_v1 import Lift, place_span, reach_reward
from rcjax.envs.metaworld.rewards import distance, hamacher_product, inside_prism_product, tolerance, v1_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.free import UPRIGHT, place_free, settled_pose_as_in_xml
from rcjax.envs.metaworld.scenes.grip import JAW_EDGES, grip_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, MARKER_PREFIX, TABLE, Pair, Proxy, SceneSpec

XML = "sawyer_xyz/sawyer_peg_insertion_side.xml"
TARGET_RADIUS = 0.07  # metres
LIFT_BY = 0.11
HOLE = (0.03, 0.0, 0.13)  # from the box's origin
PEG_HEAD = (-0.1, 0.0, 0.0)  # from the peg's origin
# The peg's inertia is such that it never turns, so a bar can be gripped as well and four corners find the hole.
_PEG = Proxy("peg", "peg", "capsule", (0.015, 0.105), (0.0, 0.0, 0.0), ALONG_X, role="internal")
_CORNERS = {
    (y, z): Proxy(f"peg_corner{y}{z}", "peg", "sphere", (0.003,), (-0.117, 0.012 * y, 0.012 * z), role="internal")
    for y in (-1, 1)
    for z in (-1, 1)
}
# In the box's frame, which is turned by a quarter, the hole runs along y and is 60 mm wide and high.
_BLOCK = Proxy("block", "box", "box", (0.1, 0.1, 0.1), (0.0, 0.0, 0.1), role="scenery")
_BELOW = Proxy("below", "box", "box", (0.1, 0.096, 0.05), (0.0, 0.0, 0.05), role="internal")
_ABOVE = Proxy("above", "box", "box", (0.1, 0.096, 0.02), (0.0, 0.0, 0.18), role="internal")
_BESIDE = {
    side: Proxy(f"beside{side}", "box", "box", (0.035, 0.096, 0.03), (0.065 * side, 0.0, 0.13), role="internal")
    for side in (-1, 1)
}
_PAIRS = (
    *grip_pairs(JAW_EDGES, ("peg",)),
    Pair("peg", "table"),
    *(Pair(corner.name, (_ABOVE if z > 0 else _BELOW).name) for (_, z), corner in _CORNERS.items()),
    *(Pair(corner.name, _BESIDE[y].name) for (y, _), corner in _CORNERS.items()),
)


class PegInsertSide(SawyerEnv):
    """The peg lies to the right; the box stands to the left, with its hole towards the peg."""

    task = "peg-insert-side"
    scene = SceneSpec(
        xml=XML,
        placed_bodies=("box",),
        proxies=(*JAW_EDGES, _PEG, *_CORNERS.values(), _BLOCK, _BELOW, _ABOVE, *_BESIDE.values(), TABLE),
        extra_pairs=_PAIRS,
    )
    goal_low = (-0.32, 0.4, 0.129)
    goal_high = (-0.22, 0.7, 0.131)
    random_low = (0.0, 0.5, 0.02, -0.35, 0.4, -0.001)
    random_high = (0.2, 0.7, 0.02, -0.25, 0.7, 0.001)
    prompt = "robot inserting green peg into hole"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.1)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        peg_pos, box_pos = np.split(random_vector, 2)
        place_free(data, peg_pos, UPRIGHT)
        data.mocap_pos[self.mocap_id("box")] = box_pos
        # As in the official code: the head of the peg where the scene has it, before it is placed.
        head_init_pos = settled_pose_as_in_xml(XML, tuple(self.hand_init_pos))[:3] + np.array(PEG_HEAD)
        return Placement(
            target_pos=box_pos + np.array(HOLE), object_init_pos=peg_pos, constants={"head_init_pos": head_init_pos}
        )

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position at which the peg is to be grasped, and its quaternion."""
        pos = self.site_pos(poses, "pegGrasp")
        return jnp.concatenate([pos, self.geom_quat_xyzw(poses, MARKER_PREFIX + "pegGrasp")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more once the peg is lifted; 10 in the hole. y and z count twice as much as x."""
        task, poses, peg = state.task, state.physics.poses, obs[4:7]
        to_peg, scale = distance(peg, self.tcp(poses)), jnp.array([1.0, 2.0, 2.0])
        head = self.site_pos(poses, "pegHead")
        to_target = distance(head * scale, task.target_pos * scale)
        margin = distance(task.constants["head_init_pos"] * scale, task.target_pos * scale)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, margin, "long_tail")
        in_place = hamacher_product(in_place, self._clear_of_box(poses, head))
        grasped = self.caging(
            state, action, peg,
            object_reach_radius=0.01, obj_radius=0.0075, pad_success_thresh=0.03, xz_thresh=0.005, density="high",
        )  # fmt: skip
        lifted = peg[2] - 0.01 > task.object_init_pos[2]
        held = (to_peg < 0.08) & (obs[3] > 0) & lifted
        grasped = jnp.where(held, 1.0, grasped)
        reward = hamacher_product(grasped, in_place) + jnp.where(held, 1.0 + 5.0 * in_place, 0.0)
        success = to_target <= TARGET_RADIUS
        return jnp.where(success, 10.0, reward), {
            "success": success,
            "near_object": to_peg <= 0.03,
            "grasp_success": (to_peg < 0.02) & (obs[3] > 0) & lifted,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def _clear_of_box(self, poses: Poses, head: Float[Array, " 3"]) -> Float[Array, ""]:
        """Less than 1 where the peg's head would run into the box above or below its hole."""
        corners = [
            (
                self.site_pos(poses, f"bottom_right_corner_collision_box_{i}"),
                self.site_pos(poses, f"top_left_corner_collision_box_{i}"),
            )
            for i in (1, 2)
        ]
        below, above = [inside_prism_product(head, zero, one) for zero, one in corners]
        return hamacher_product(above, below)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting, and bringing first the head and then the whole peg to the hole."""
        task, poses, peg = state.task, state.physics.poses, obs[4:7]
        tcp, start = self.tcp(poses), task.object_init_pos[2]
        lift = Lift(height=peg[2], start=start, target=start + LIFT_BY)
        reach, to_target = distance(peg, tcp), distance(peg, task.target_pos)
        head_to_target = distance(self.site_pos(poses, "pegHead"), task.target_pos)
        held = lift.completed & ~lift.dropped(to_target, reach)
        span = place_span(task.object_init_pos, lift.target, task.target_pos)
        place = v1_pull(span, jnp.where(head_to_target <= 0.05, to_target, head_to_target))
        reward = (
            reach_reward(peg, tcp, task.init_tcp, action)
            + lift.reward(held, reach < 0.1)
            + jnp.where(held & (reach < 0.1), place, 0.0)
        )
        return reward, v1_terms(to_target, TARGET_RADIUS)
