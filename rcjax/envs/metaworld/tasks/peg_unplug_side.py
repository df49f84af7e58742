"""peg-unplug-side: pull the plug out of the wall, sideways.

Source: metaworld 3.0.0, `sawyer_peg_unplug_side_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import PALM
from rcjax.envs.metaworld.pick_v1 import reach_reward
from rcjax.envs.metaworld.rewards import distance, tolerance, v1_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.free import UPRIGHT, place_free
from rcjax.envs.metaworld.scenes.grip import JAWS, grip_pairs, jaw_corners
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import TABLE, Pair, Proxy, SceneSpec

SUCCESS_RADIUS = 0.07  # metres
PLUGGED = (0.044, 0.0, 0.131)  # from the wall's origin
PULL_BY = (0.15, 0.0, 0.0)
PEG_END = (0.04, 0.0, 0.0)  # from the plug's origin
_JAW_CORNERS = jaw_corners((0.0, 0.032, 0.064))
_BODY = Proxy("plug", "plug", "box", (0.035, 0.038, 0.038), (0.025, 0.0, 0.0), role="internal")
_KNOB = Proxy("knob", "plug", "sphere", (0.04,), (0.06, 0.0, 0.0), role="internal")
# The head is wider than the hole of 44 mm, so it stays in until it is pulled; the flange ends at the wall.
_HEAD = Proxy("head", "plug", "sphere", (0.03,), (-0.035, 0.0, 0.0), role="internal")
_FLANGE = {
    (y, z): Proxy(f"flange{y}{z}", "plug", "sphere", (0.004,), (-0.016, 0.03 * y, 0.03 * z), role="internal")
    for y in (-1, 1)
    for z in (-1, 1)
}
_WALL = Proxy("wall", "plug_wall", "box", (0.025, 0.1, 0.1), role="scenery")
_BELOW = Proxy("below", "plug_wall", "box", (0.025, 0.1, 0.055), (0.0, 0.0, -0.045), role="internal")
_ABOVE = Proxy("above", "plug_wall", "box", (0.025, 0.1, 0.023), (0.0, 0.0, 0.077), role="internal")
_BESIDE = tuple(
    Proxy(f"beside{side}", "plug_wall", "box", (0.025, 0.039, 0.022), (0.0, 0.061 * side, 0.032), role="internal")
    for side in (-1, 1)
)
_PAIRS = (
    *grip_pairs(_JAW_CORNERS, ("plug",), friction=1.5),
    *grip_pairs(JAWS, ("knob",), friction=1.5),
    *grip_pairs(PALM, ("plug",)),
    *(Pair("head", around.name, friction=2.0) for around in (_BELOW, _ABOVE, *_BESIDE)),
    *(Pair(sphere.name, (_ABOVE if z > 0 else _BELOW).name) for (_, z), sphere in _FLANGE.items()),
    *(Pair(sphere.name, "table") for sphere in (_KNOB, _HEAD)),
)


class PegUnplugSide(SawyerEnv):
    """The wall stands on the left and the plug sticks out of it to the right; the goal lies 15 cm to its right."""

    task = "peg-unplug-side"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_peg_unplug_side.xml",
        placed_bodies=("box",),
        proxies=(
            *JAWS,
            *_JAW_CORNERS,
            *PALM,
            _BODY,
            _KNOB,
            _HEAD,
            *_FLANGE.values(),
            _WALL,
            _BELOW,
            _ABOVE,
            *_BESIDE,
            TABLE,
        ),
        extra_pairs=_PAIRS,
        solver_iterations=8,
    )
    goal_low = (-0.056, 0.6, 0.13)
    goal_high = (0.044, 0.8, 0.132)
    random_low = (-0.25, 0.6, -0.001)
    random_high = (-0.15, 0.8, 0.001)
    prompt = "robot unplugging peg"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        plug_pos = random_vector + np.array(PLUGGED)
        data.mocap_pos[self.mocap_id("box")] = random_vector
        place_free(data, plug_pos, UPRIGHT)
        return Placement(target_pos=plug_pos + np.array(PULL_BY), object_init_pos=plug_pos + np.array(PEG_END))

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the plug's free end, and its quaternion w x y z."""
        return jnp.concatenate([self.site_pos(poses, "pegEnd"), self.body_quat(poses, "plug1")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging, and the place once the plug moves in the hand; 10 at the goal."""
        task, end = state.task, obs[4:7]
        to_end, to_target = distance(end, self.tcp(state.physics.poses)), distance(end, task.target_pos)
        grasped = self.caging(
            state, action, end,
            object_reach_radius=0.01, obj_radius=0.025, pad_success_thresh=0.05, xz_thresh=0.005,
            desired_gripper_effort=0.8, density="high",
        )  # fmt: skip
        in_place = tolerance(to_target, 0.0, 0.05, distance(task.object_init_pos, task.target_pos), "long_tail")
        pulled = (obs[3] > 0.5) & (end[0] - task.object_init_pos[0] > 0.015)
        reward = 2.0 * grasped + jnp.where(pulled & (to_end < 0.035), 1.0 + 5.0 * in_place, 0.0)
        return jnp.where(to_target <= 0.05, 10.0, reward), {
            "success": to_target <= SUCCESS_RADIUS,
            "near_object": to_end <= 0.03,
            "grasp_success": pulled,
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the reach and the pull. The fingertips' initial height is here the one that the hand was sent to."""
        task, end, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        to_target = distance(end[:2], task.target_pos[:2])
        pull = v1_pull(distance(task.target_pos, task.object_init_pos), to_target)
        reach = reach_reward(end, tcp, jnp.asarray(self.hand_init_pos), action, height_weight=2.0)
        return reach + jnp.where(distance(end, tcp) < 0.05, pull, 0.0), v1_terms(to_target, SUCCESS_RADIUS)
