"""The safe-like box with a bolt that turns, for door-lock and door-unlock."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, v1_reach_and_pull, v1_terms
from rcjax.envs.metaworld.sawyer import Reward
from rcjax.envs.metaworld.scenes.beside import BesideScene
from rcjax.envs.metaworld.scenes.edges import BASE_LEFT, BASE_RIGHT, FINGER_EDGES, contact_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, SOLIMP, TABLE, Proxy, SceneSpec

LOCK_LENGTH = 0.1  # metres
SUCCESS_RADIUS = 0.02

# The bolt is 100 x 38 x 20 mm: two capsules side by side.
_BOLT = tuple(
    Proxy(f"bolt{i}", "lock_link", "capsule", (0.01, 0.04), (0.042, y, 0.0), ALONG_X, role="internal")
    for i, y in enumerate((-0.033, -0.015))
)
_HAND = (*FINGER_EDGES, *BASE_RIGHT, *BASE_LEFT)


class LockScene(BesideScene):
    """The box stands at x in [-0.1, 0.1] and y in [0.8, 0.85]; its door is fixed and its bolt turns about y.

    The bolt points to the right when unlocked, down when locked. The official reset leaves the sites of the goals where
    the XML has them, so they are not `goal_sites` here.
    """

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_door_lock.xml",
        placed_bodies=("door",),
        proxies=(
            *_BOLT,
            *_HAND,
            Proxy("case", "door", "box", (0.22, 0.108, 0.15), (0.0, -0.002, 0.0), role="scenery"),
            Proxy("handle", "door_link", "box", (0.075, 0.02, 0.02), (0.381, -0.12, -0.05), role="scenery"),
            TABLE,
        ),
        extra_pairs=contact_pairs(_HAND, _BOLT, SOLIMP),
        goal_sites=(),
    )
    mocap_low = (-0.5, 0.40, -0.15)
    random_low = (-0.1, 0.8, 0.15)
    random_high = (0.1, 0.85, 0.15)
    bolt_site: str  # near the bolt's end

    def place_door(self, data: mujoco.MjData, pos: np.ndarray) -> np.ndarray:
        """Puts the box at `pos` and returns the resulting position of the bolt's axis."""
        data.mocap_pos[self.mocap_id("door")] = pos
        mujoco.mj_kinematics(self.mj_model, data)
        return data.body("lock_link").xpos.copy()

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the bolt's end, and the door's quaternion w x y z."""
        return jnp.concatenate([self.site_pos(poses, self.bolt_site), self.body_quat(poses, "door")])

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        task, bolt = state.task, obs[4:7]
        to_target = distance(bolt, task.target_pos)
        reach = distance(bolt, self.tcp(state.physics.poses))
        return v1_reach_and_pull(reach, task.constants["max_pull"], to_target), v1_terms(to_target, SUCCESS_RADIUS)
