"""bin-picking: carry the cube from one bin to the other.

Source: metaworld 3.0.0, `sawyer_bin_picking_v3.py`.
"""

import itertools
from collections.abc import Mapping

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import TIP_CORNERS
from rcjax.envs.metaworld.pick_v1 import Lift, reach_reward
from rcjax.envs.metaworld.rewards import above_floor, distance, funnel, hamacher_product, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import contact_pairs
from rcjax.envs.metaworld.scenes.free import place_free, settled_pose_as_in_xml
from rcjax.envs.metaworld.scenes.grip import JAW_CORNERS, grip_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import Pair, Proxy, SceneSpec

XML = "sawyer_xyz/sawyer_bin_picking.xml"
TARGET_POS = (0.12, 0.7, 0.0)  # metres, the second bin's middle
TARGET_RADIUS = 0.05
LIFT_BY = 0.1
FUNNEL_RADIUS = 0.03
_CORNERS = tuple(itertools.product((-1, 1), repeat=3))
_CUBE = Proxy("cube", "obj", "box", (0.02, 0.02, 0.02), role="internal")
_FEET = tuple(
    Proxy(f"cube_corner{i}", "obj", "sphere", (0.002,), (0.018 * x, 0.018 * y, 0.018 * z), role="internal")
    for i, (x, y, z) in enumerate(_CORNERS)
)
_BOTTOM = tuple(foot for foot, (_, _, z) in zip(_FEET, _CORNERS, strict=True) if z < 0)
_FLOOR = Proxy("floor", "world", "plane", (0.0, 0.0, 1.0), (0.0, 0.0, 0.01), role="scenery")
_WALLS = (
    Proxy("left_wall", "world", "box", (0.05, 0.1, 0.03), (-0.26, 0.7, 0.03), role="internal"),
    Proxy("middle_wall", "world", "box", (0.03, 0.1, 0.03), (0.0, 0.7, 0.03), role="internal"),
)
_PAIRS = (
    *grip_pairs(JAW_CORNERS, ("cube",)),
    *(Pair(foot.name, "floor") for foot in _FEET),
    *(Pair(foot.name, wall.name) for foot in _BOTTOM for wall in _WALLS),
    *contact_pairs(TIP_CORNERS, _WALLS),
)


class BinPicking(SawyerEnv):
    """The cube lies in the left bin; the goal is the bottom of the right one."""

    task = "bin-picking"
    scene = SceneSpec(
        xml=XML,
        placed_bodies=(),
        proxies=(*JAW_CORNERS, *TIP_CORNERS, _CUBE, *_FEET, _FLOOR, *_WALLS),
        extra_pairs=_PAIRS,
        goal_sites=(),
    )
    mocap_low = (-0.5, 0.40, 0.07)
    goal_low = (0.1199, 0.699, -0.001)
    goal_high = (0.1201, 0.701, 0.001)
    random_low = (-0.21, 0.65, 0.02, *goal_low)
    random_high = (-0.03, 0.75, 0.02, *goal_high)
    initial_memory: Mapping[str, float] = {
        "first_distance": -1.0
    }  # metres from the cube to its target after the first step
    prompt = "robot moving green cube to other bin"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        rest = settled_pose_as_in_xml(XML, tuple(self.hand_init_pos))
        cube_pos = np.array([*random_vector[:2], rest[2]])
        place_free(data, cube_pos, rest[3:])
        return Placement(target_pos=np.array(TARGET_POS), object_init_pos=cube_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.body_pos(poses, "obj"), self.body_quat(poses, "obj")])

    def remember(self, state: EnvState, obs: Float[Array, " 39"]) -> EnvState:
        known = state.task.memory["first_distance"]
        first = jnp.where(known < 0, distance(obs[4:7], state.task.target_pos), known)
        return state.replace(task=state.task.replace(memory={"first_distance": first}))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more while the cube is carried above the bins' walls; 10 at the goal."""
        task, hand, cube = state.task, obs[:3], obs[4:7]
        to_target = distance(cube, task.target_pos)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, task.memory["first_distance"], "long_tail")
        grasped = self.caging(
            state, action, cube,
            obj_radius=0.015, pad_success_thresh=0.05, object_reach_radius=0.01, xz_thresh=0.01,
            desired_gripper_effort=0.7, density="high",
        )  # fmt: skip
        near = distance(cube, hand) < 0.04
        held = near & (cube[2] - 0.02 > task.object_init_pos[2]) & (obs[3] >= 0.43)
        above = _above_floor(hand, task.object_init_pos, task.target_pos)
        reward = hamacher_product(grasped, in_place)
        reward = reward + jnp.where(held, 1.0 + 5.0 * hamacher_product(above, in_place), 0.0)
        return jnp.where(to_target < TARGET_RADIUS, 10.0, reward), {
            "success": to_target <= TARGET_RADIUS,
            "near_object": near,
            "grasp_success": held,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting and placing, and opening the gripper over the bin."""
        task, cube, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        start = task.object_init_pos[2]
        lift = Lift(height=cube[2], start=start, target=start + LIFT_BY)
        reach, to_target = distance(cube, tcp), distance(cube[:2], task.target_pos[:2])
        over_bin = jnp.all(jnp.abs(cube[:2] - task.target_pos[:2]) < 0.05)
        placed = over_bin & (cube[2] < start + 0.05)
        held = lift.completed & ~lift.dropped(to_target, reach)
        span = distance(task.object_init_pos[:2], task.target_pos[:2]) + lift.target
        place, opening = v1_pull(span, to_target), -200.0 * action[3]
        reward = (
            reach_reward(cube, tcp, task.init_tcp, action, above=0.06)
            + lift.reward(held, reach < 0.1)
            + jnp.where(held & (reach < 0.1), place + jnp.where(over_bin, opening, 0.0), 0.0)
        )
        return jnp.where(placed, opening + place, reward), {
            "success": to_target <= TARGET_RADIUS,
            "near_object": 0.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": to_target,
        }


def _above_floor(hand: Array, *centers: Array) -> Array:
    """1 where the hand is above the lower of the funnels over the bins; below, it would run into their walls."""
    radii = jnp.stack([distance(hand[:2], center[:2]) for center in centers])
    return above_floor(hand[2], jnp.min(funnel(radii, FUNNEL_RADIUS, 0.02, 0.2)), 0.05)
