"""box-close: put the lid on the box.

Source: metaworld 3.0.0, `sawyer_box_close_v3.py`.
"""

import itertools

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.pick_v1 import Lift, place_span, reach_reward
from rcjax.envs.metaworld.rewards import above_floor, distance, funnel, hamacher_product, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import PULL_SUBSTEPS, Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.free import place_free, settled_pose
from rcjax.envs.metaworld.scenes.grip import PALM_BAR, SOFT_SOLIMP, grip_pairs, jaw_corners
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_Y, PROXY_PREFIX, TABLE, Pair, Proxy, SceneSpec

XML = "sawyer_xyz/sawyer_box.xml"
SUCCESS_RADIUS = 0.08  # metres
LIFT_BY = 0.12
LID_HEIGHT = 0.02  # of the lid's origin at reset
FUNNEL_RADIUS = 0.02
LEVEL = (0.707, 0.0, 0.0, 0.707)  # the lid's quaternion w x y z as it should be
_SIGNS = tuple(itertools.product((-1, 1), repeat=2))
_JAW_CORNERS = jaw_corners((0.0, 0.07))
_TIPS = tuple(corner for corner in _JAW_CORNERS if corner.pos[0] > 0.04)
# The official collision meshes are convex hulls: the lid is a slab, the handle a plate whose top is round.
_LID_CENTER = Proxy("lid_center", "top_link", "sphere", (0.004,), role="internal")
_LID = Proxy("lid", "top_link", "box", (0.115, 0.115, 0.0117), (0.0, 0.0, -0.0041), role="internal")
_HANDLE = Proxy("handle", "top_link", "box", (0.008, 0.058, 0.044), (0.0, 0.0, 0.048), role="internal")
_BAR = Proxy("bar", "top_link", "capsule", (0.008, 0.05), (0.0, 0.0, 0.092), ALONG_Y, role="internal")
_FEET = tuple(
    Proxy(f"lid_foot{x}{y}", "top_link", "sphere", (0.004,), (0.111 * x, 0.111 * y, -0.012), role="internal")
    for x, y in _SIGNS
)
_BOX_TOP = tuple(
    Proxy(f"box_top{x}{y}", "box", "sphere", (0.004,), (0.096 * x, 0.096 * y, 0.056), role="internal")
    for x, y in _SIGNS
)
_PAIRS = (
    *grip_pairs(_JAW_CORNERS, ("handle",), solimp=SOFT_SOLIMP),
    *grip_pairs(_TIPS, ("lid",), solimp=SOFT_SOLIMP),
    *grip_pairs((PALM_BAR, *_TIPS), ("bar",), solimp=SOFT_SOLIMP),
    *(Pair(foot.name, "table") for foot in _FEET),
    *(Pair(corner.name, "lid") for corner in _BOX_TOP),
)


class BoxClose(SawyerEnv):
    """The lid lies in front of the box; the goal is its place on the box."""

    task = "box-close"
    scene = SceneSpec(
        xml=XML,
        placed_bodies=("boxbody",),
        proxies=(*_JAW_CORNERS, PALM_BAR, _LID_CENTER, _LID, _HANDLE, _BAR, *_FEET, *_BOX_TOP, TABLE),
        extra_pairs=_PAIRS,
        solver_iterations=8,  # with four, a lid wedged under the hand is flung away
    )
    goal_low = (-0.1, 0.7, 0.133)
    goal_high = (0.1, 0.8, 0.133)
    random_low = (-0.05, 0.5, 0.02, *goal_low)
    random_high = (0.05, 0.55, 0.02, *goal_high)
    prompt = "robot closing box with lid"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.25)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Places the box and the lid.

        The official lid first falls onto the box, and it comes to rest differently each time. The reset then moves
        the box and continues for five more substeps.
        """
        mujoco.mj_step(self.mj_model, data, nstep=self.frame_skip)
        target_pos = random_vector[3:]
        box_pos = np.array([*target_pos[:2], 0.0])
        rest = settled_pose(XML, self.hand_init_pos, {"boxbody": box_pos}, PULL_SUBSTEPS + self.frame_skip)
        lid_pos = np.array([*random_vector[:2], LID_HEIGHT])
        data.mocap_pos[self.mocap_id("boxbody")] = box_pos
        place_free(data, lid_pos, rest[3:])
        mujoco.mj_kinematics(self.mj_model, data)
        handle_height = float(data.geom("BoxHandleGeom").xpos[2])
        return Placement(target_pos=target_pos, object_init_pos=lid_pos, constants={"handle_height": handle_height})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        lid_pos = self.geom_pos(poses, PROXY_PREFIX + _LID_CENTER.name)
        return jnp.concatenate([lid_pos, self.body_quat(poses, "boxbodytop")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the hand at the lid with the gripper closing, and the lid at its place; 10 on the box.

        All of it is less where the lid is tilted.
        """
        lid, target_pos = obs[4:7], state.task.target_pos
        grab = (jnp.clip(action[3], -1.0, 1.0) + 1.0) / 2.0
        level = jnp.maximum(1.0 - jnp.linalg.norm(obs[7:11] - jnp.asarray(LEVEL)) / 0.2, 0.0)
        knob = lid + jnp.array([0.0, 0.0, 0.02])
        ready = _ready_to_lift(obs[:3], knob)
        error = (target_pos - knob) * jnp.array([1.0, 1.0, 3.0])
        closed = 0.2 * (knob[2] > 0.04) + 0.8 * tolerance(jnp.linalg.norm(error), 0.0, 0.05, 0.25, "long_tail")
        success = distance(lid, target_pos) < SUCCESS_RADIUS
        reward = jnp.where(success, 10.0, 2.0 * hamacher_product(grab, ready) + 8.0 * closed)
        return reward * level, {
            "success": success,
            "near_object": ready,
            "grasp_success": grab >= 0.5,
            "grasp_reward": grab,
            "in_place_reward": closed,
            "obj_to_target": 0.0,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting and placing."""
        task, lid, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        start = task.constants["handle_height"]
        lift = Lift(height=lid[2], start=start, target=start + LIFT_BY)
        reach, to_target = distance(lid, tcp), distance(lid, task.target_pos)
        held = lift.completed & ~lift.dropped(to_target, reach)
        span = place_span(task.object_init_pos, lift.target, task.target_pos)
        reward = (
            reach_reward(lid, tcp, task.init_tcp, action, height_weight=2.0)
            + lift.reward(held, reach < 0.1)
            + jnp.where(held & (reach < 0.1), v1_pull(span, to_target), 0.0)
        )
        return reward, {
            "success": to_target < SUCCESS_RADIUS,
            "near_object": 0.0,
            "grasp_success": 0.0,
            "grasp_reward": 0.0,
            "in_place_reward": 0.0,
            "obj_to_target": 0.0,
        }


def _ready_to_lift(hand: Float[Array, " 3"], knob: Float[Array, " 3"]) -> Float[Array, ""]:
    """1 with the hand at the handle; less below a funnel over the handle, where the hand would run into it."""
    floor = funnel(distance(hand[:2], knob[:2]), FUNNEL_RADIUS, 0.04, 0.4)
    above = above_floor(hand[2], floor, floor / 2.0)
    return hamacher_product(above, tolerance(distance(hand, knob), 0.0, 0.02, 0.5, "long_tail"))
