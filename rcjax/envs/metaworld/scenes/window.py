"""The window with a sliding pane, for window-open and window-close."""

from typing import Literal

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import Terms, distance, hamacher_product, tolerance, v1_slope
from rcjax.envs.metaworld.sawyer import Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.edges import BASE_LEFT, BASE_RIGHT, FINGER_EDGES, contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_Y, TABLE, Pair, Proxy, SceneSpec

FallOff = Literal["gaussian", "long_tail"]
TARGET_RADIUS = 0.05  # metres
HANDLE_RADIUS = 0.02
TRAVEL = 0.2

_HANDLE = Proxy("handle", "windowb_a", "capsule", (0.008, 0.045), (-0.014, -0.095, 0.0), role="internal")
_BRACKETS = tuple(
    Proxy(f"bracket{i}", "windowb_a", "capsule", (0.008, 0.035), (-0.014, -0.06, z), ALONG_Y, role="internal")
    for i, z in enumerate((-0.045, 0.045))
)
# The pane stops at the frame's posts, a millimetre after its joint's limits.
_STOPS = (
    Proxy("left_side", "windowb_a", "sphere", (0.005,), (-0.195, -0.013, 0.0), role="internal"),
    Proxy("right_side", "windowb_a", "sphere", (0.005,), (-0.005, -0.013, 0.0), role="internal"),
    Proxy("left_post", "window", "box", (0.015, 0.03, 0.181), (-0.216, 0.0, 0.0), role="internal"),
    Proxy("right_post", "window", "box", (0.015, 0.03, 0.181), (0.216, 0.0, 0.0), role="internal"),
)
_HAND = (*FINGER_EDGES, *BASE_RIGHT, *BASE_LEFT)


class WindowScene(SawyerEnv):
    """The pane slides along x, from closed at 0 to open at 0.2 m; its handle is a bar in front of it."""

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_window_horizontal.xml",
        placed_bodies=("window",),
        proxies=(
            _HANDLE,
            *_BRACKETS,
            *_STOPS,
            *_HAND,
            Proxy("frame", "window", "box", (0.231, 0.03, 0.181), role="scenery"),
            TABLE,
        ),
        extra_pairs=(
            *contact_pairs(_HAND, (_HANDLE,)),
            *contact_pairs(FINGER_EDGES, _BRACKETS),
            *(Pair(stop.name, post.name, condim=1) for stop, post in zip(_STOPS[:2], _STOPS[2:], strict=True)),
        ),
    )
    handle_site: str
    hand_init_pos = (0.0, 0.4, 0.2)

    def place_window(self, data: mujoco.MjData, pos: np.ndarray, slide: float) -> np.ndarray:
        """Puts the window at `pos` with the pane at `slide` metres, and returns the position of the handle's site."""
        data.mocap_pos[self.mocap_id("window")] = pos
        data.joint("window_slide").qpos[:] = slide
        mujoco.mj_kinematics(self.mj_model, data)
        return data.site(self.handle_site).xpos.copy()

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of a point beside the handle; zeros in place of a quaternion."""
        return jnp.pad(self.site_pos(poses, self.handle_site), (0, 4))

    def reach_and_slide(
        self, state: EnvState, handle: Float[Array, " 3"], start_distance: Float[Array, ""], fall_off: FallOff
    ) -> Reward:
        """The version "v2" reward: reach times place. `start_distance` is metres to the target along x."""
        task = state.task
        to_target, to_handle = jnp.abs(handle[0] - task.target_pos[0]), distance(handle, self.tcp(state.physics.poses))
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, jnp.abs(start_distance - TARGET_RADIUS), "long_tail")
        reach_margin = jnp.abs(distance(task.constants["handle_init"], task.init_tcp) - HANDLE_RADIUS)
        reach = tolerance(to_handle, 0.0, HANDLE_RADIUS, reach_margin, fall_off)
        return 10.0 * hamacher_product(reach, in_place), _terms(to_target, to_handle, reach, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Like `rewards.v1_reach_and_pull`, except that the pull may be negative."""
        del action
        handle = obs[4:7]
        d, reach = jnp.abs(handle[0] - state.task.target_pos[0]), distance(handle, self.tcp(state.physics.poses))
        return jnp.where(reach < 0.05, v1_slope(TRAVEL, d), 0.0) - reach, _terms(d, 0.0, 0.0, 0.0)


def _terms(to_target: Array, to_handle: Array | float, reach: Array | float, in_place: Array | float) -> Terms:
    return {
        "success": to_target <= TARGET_RADIUS,
        "near_object": jnp.asarray(to_handle) <= 0.05,
        "grasp_success": 1.0,
        "grasp_reward": reach,
        "in_place_reward": in_place,
        "obj_to_target": to_target,
    }
