"""The nut with a long handle and the peg it goes around, for assembly and disassemble."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.metaworld.scenes.grip import SOFT_SOLIMP, grip_pairs, jaw_corners
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import TABLE, Pair, Proxy, SceneSpec

XML = "sawyer_xyz/sawyer_assembly_peg.xml"
HANDLE_LENGTH = 0.02  # metres along which the fingers may grasp it anywhere
LEVEL = (0.707, 0.0, 0.0, 0.707)  # the nut's quaternion w x y z as it should be
RING_RADIUS = 0.048  # metres, to the middle of the ring; the hole has a radius of 29 mm
_JAW_CORNERS = jaw_corners((0.0, 0.014))
_HANDLE = Proxy("handle", "asmbly_peg", "box", (0.019, 0.038, 0.016), (0.0, -0.13, 0.0), role="internal")
_RING = tuple(
    Proxy(
        f"ring{i}",
        "asmbly_peg",
        "sphere",
        (0.019,),
        (RING_RADIUS * np.cos(a), RING_RADIUS * np.sin(a), 0.0),
        role="internal",
    )
    for i, a in enumerate(np.arange(12) * (2 * np.pi / 12))
)
_HANDLE_END = tuple(
    Proxy(f"handle_end{x}", "asmbly_peg", "sphere", (0.003,), (0.016 * x, -0.165, -0.013), role="internal")
    for x in (-1, 1)
)
# The peg's top is flat and the capsule's is round, so the capsule ends 12 mm higher.
_PEG = Proxy("peg", "peg", "capsule", (0.02, 0.042), (0.0, 0.0, 0.0), role="internal")
_PAIRS = (
    *grip_pairs(_JAW_CORNERS, ("handle",), friction=1.3, solimp=SOFT_SOLIMP),
    *(Pair(sphere.name, "table") for sphere in (*_RING[::3], *_HANDLE_END)),
    *(Pair(sphere.name, "peg") for sphere in _RING),
)


class NutScene(SawyerEnv):
    """The nut's handle points to the right."""

    scene = SceneSpec(
        xml=XML,
        placed_bodies=("peg",),
        proxies=(*_JAW_CORNERS, _HANDLE, *_HANDLE_END, *_RING, _PEG, TABLE),
        extra_pairs=_PAIRS,
        goal_sites=(),
    )

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.1)

    def place_peg(self, data: mujoco.MjData, pos: np.ndarray) -> None:
        data.mocap_pos[self.mocap_id("peg")] = pos

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the handle, and the nut's quaternion w x y z."""
        return jnp.concatenate([self.site_pos(poses, "RoundNut-8"), self.body_quat(poses, "RoundNut")])

    def nut_grasp(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"], density: str) -> Array:
        """How well the gripper holds the handle, anywhere along it within 1 cm of its middle."""
        hand, handle = obs[:3], obs[4:7]
        near_hand = jnp.abs(handle[0] - hand[0]) < HANDLE_LENGTH / 2
        return self.caging(
            state, action, jnp.where(near_hand, handle.at[0].set(hand[0]), handle),
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.02, xz_thresh=0.01, density=density,
        )  # fmt: skip


def level_reward(obs: Float[Array, " 39"]) -> Float[Array, ""]:
    """1 where the nut lies level and points to the right, 0 far from that."""
    return jnp.maximum(1.0 - jnp.linalg.norm(obs[7:11] - jnp.asarray(LEVEL)) / 0.4, 0.0)
