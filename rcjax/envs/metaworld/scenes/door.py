"""The safe-like box with a hinged door, for door-open and door-close."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, v1_reach_and_pull
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.metaworld.scenes.edges import FINGER_TIPS, contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, ALONG_Y, TABLE, Pair, Proxy, SceneSpec

_POST = Proxy("post", "door_link", "capsule", (0.013, 0.04), (0.325, -0.06, 0.0), ALONG_Y)


class DoorScene(SawyerEnv):
    """The box stands at x in [0, 0.1] and y in [0.85, 0.95]; its door's hinge is on the left."""

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_door_pull.xml",
        placed_bodies=("door",),
        proxies=(
            Proxy("handle", "door_link", "capsule", (0.02, 0.065), (0.385, -0.12, 0.0), ALONG_X),
            _POST,
            *FINGER_TIPS,
            Proxy("panel", "door_link", "box", (0.18, 0.01, 0.123), (0.185, 0.0, 0.0)),
            Proxy("frame", "door", "box", (0.22, 0.106, 0.15), (0.0, 0.0, 0.0), role="scenery"),
            TABLE,
            # The panel's corner by the hinge touches the frame when the door stands open at a right angle:
            # this is why the official door starts to close by itself.
            Proxy("corner", "door_link", "sphere", (0.001,), (0.006, -0.009, 0.0), role="internal"),
            Proxy("jamb", "door", "box", (0.016, 0.106, 0.15), (-0.204, 0.0, 0.0), role="internal"),
        ),
        extra_pairs=(Pair("corner", "jamb", condim=1), *contact_pairs(FINGER_TIPS, (_POST,))),
    )
    random_low = (0.0, 0.85, 0.15)
    random_high = (0.1, 0.95, 0.15)

    def place_door(self, data: mujoco.MjData, pos: np.ndarray, angle: float) -> None:
        data.mocap_pos[self.mocap_id("door")] = pos
        data.joint("doorjoint").qpos[:] = angle
        data.joint("doorjoint").qvel[:] = 0.0

    def max_pull(self, data: mujoco.MjData, target_pos: np.ndarray) -> float:
        """Horizontal distance from the handle to the target, metres."""
        mujoco.mj_kinematics(self.mj_model, data)
        return float(np.linalg.norm(data.geom("handle").xpos[:2] - target_pos[:2]))

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.geom_pos(poses, "handle"), self.geom_quat_xyzw(poses, "handle")])

    def pull_v1(self, state: EnvState, obs: Float[Array, " 39"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Reward of version "v1", and the handle's horizontal distance to the target."""
        handle = obs[4:7]
        to_target = distance(handle[:2], state.task.target_pos[:2])
        reach = distance(handle, self.tcp(state.physics.poses))
        return v1_reach_and_pull(reach, state.task.constants["max_pull"], to_target), to_target
