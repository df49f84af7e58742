"""pick-out-of-hole: pick the puck out of the hole in the table.

Source: metaworld 3.0.0, `sawyer_pick_out_of_hole_v3.py`. The class there defines `_TARGET_RADIUS` = 0.02 and never
reads it; the radius in effect is the inherited 0.05, and success allows 0.07.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import TIP_CORNERS
from rcjax.envs.metaworld.pick_v1 import Lift, place_span, reach_reward
from rcjax.envs.metaworld.rewards import above_floor, distance, funnel, hamacher_product, tolerance, v1_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import contact_pairs
from rcjax.envs.metaworld.scenes.free import UPRIGHT, place_free
from rcjax.envs.metaworld.scenes.grip import JAWS, grip_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import TABLE, Pair, Proxy, SceneSpec

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.07
LIFT_BY = 0.11
FUNNEL_RADIUS = 0.03
# The puck's inertia is such that it never turns, so a ball can be gripped as well.
_PUCK = Proxy("puck", "obj", "sphere", (0.02,), role="internal")
_AROUND_HOLE = tuple(
    Proxy(name, "world", "box", (*half, 0.027), (*middle, 0.027), role="internal")
    for name, half, middle in (
        ("front", (0.7, 0.225), (0.0, 0.425)),
        ("back", (0.15, 0.025), (0.0, 0.975)),
        ("left", (0.275, 0.175), (-0.425, 0.825)),
        ("right", (0.275, 0.175), (0.425, 0.825)),
    )
)
_PAIRS = (
    *grip_pairs(JAWS, ("puck",)),
    *(Pair("puck", around.name) for around in (TABLE, *_AROUND_HOLE)),
    *contact_pairs(TIP_CORNERS, _AROUND_HOLE),
)


class PickOutOfHole(SawyerEnv):
    """The puck lies in a hole 54 mm deep; the goal is in the air, in front of it."""

    task = "pick-out-of-hole"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_pick_out_of_hole.xml",
        placed_bodies=(),
        proxies=(*JAWS, *TIP_CORNERS, _PUCK, TABLE, *_AROUND_HOLE),
        extra_pairs=_PAIRS,
    )
    mocap_low = (-0.5, 0.40, -0.05)
    goal_low = (-0.1, 0.5, 0.15)
    goal_high = (0.1, 0.6, 0.3)
    random_low = (0.0, 0.75, 0.02, *goal_low)
    random_high = (0.0, 0.75, 0.02, *goal_high)
    prompt = "robot picking red puck out of hole"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.15)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        puck_pos, target_pos = np.split(random_vector, 2)
        place_free(data, puck_pos, UPRIGHT)
        return Placement(target_pos=target_pos, object_init_pos=puck_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.body_pos(poses, "obj"), self.body_quat(poses, "obj")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more while the puck is held above the table's edge; 10 at the goal."""
        task, puck, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        to_target, to_tcp = distance(puck, task.target_pos), distance(puck, tcp)
        in_place = tolerance(to_target, 0.0, 0.02, distance(task.object_init_pos, task.target_pos), "long_tail")
        grasped = self.caging(
            state, action, puck,
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.02, xz_thresh=0.03,
            desired_gripper_effort=0.1, density="high",
        )  # fmt: skip
        held = (to_tcp < 0.04) & (puck[2] - 0.02 > task.object_init_pos[2]) & (obs[3] >= 0.33)
        above = _above_floor(tcp, task.object_init_pos)
        reward = hamacher_product(grasped, in_place)
        reward = reward + jnp.where(held, 1.0 + 5.0 * hamacher_product(in_place, above), 0.0)
        return jnp.where(to_target < TARGET_RADIUS, 10.0, reward), {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_tcp <= 0.03,
            "grasp_success": held,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting and placing."""
        task, puck, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        start = task.object_init_pos[2]
        lift = Lift(height=puck[2], start=start, target=start + LIFT_BY)
        reach, to_target = distance(puck, tcp), distance(puck, task.target_pos)
        held = lift.completed & ~lift.dropped(to_target, reach)
        span = place_span(task.object_init_pos, lift.target, task.target_pos)
        reward = (
            reach_reward(puck, tcp, task.init_tcp, action, height_weight=2.0)
            + lift.reward(held, reach < 0.1, zero=start - 0.02)
            + jnp.where(held & (reach < 0.1), v1_pull(span, to_target), 0.0)
        )
        return reward, v1_terms(to_target, SUCCESS_RADIUS)


def _above_floor(tcp: Array, center: Array) -> Array:
    """1 where the fingertips are above a funnel over the hole; below, they would run into the hole's edge."""
    return above_floor(tcp[2], funnel(distance(tcp[:2], center[:2]), FUNNEL_RADIUS, 0.015, 0.15), 0.02)
