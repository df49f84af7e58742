"""The stick and the thermos, for stick-push and stick-pull."""

import itertools
from typing import Literal

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from rcjax.envs.metaworld.rewards import distance
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.metaworld.scenes.grip import JAWS, grip_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, ALONG_Y, HAND_FRICTION, TABLE, Pair, Proxy, SceneSpec

THERMOS_POS = np.array([0.2, 0.6, 0.0])  # metres: the position of its base, which nothing moves
STICK_HEIGHT = 0.02  # metres: the height of its centre as it lies
STICK_HALF = np.array([0.05, 0.02, 0.02])
LIFT = 0.04  # metres by which version 1 has the stick lifted
PAD_HALF = np.array([0.045, 0.003, 0.015])
# The official reset pulls the arm into the thermos and leaves the thermos sliding along x at this speed, which it never
# resets. So the thermos drifts to the end of its joint, where stick-push's goal is.
THERMOS_DRIFT = 0.58342566  # metres a second
INIT_TCP = np.array([0.00417019, 0.6015806, 0.15021768])  # after that collision; 0.3 mm from ours


def _internal(name: str, body: str, shape: Literal["sphere", "capsule"], size: tuple, pos: tuple, quat=ALONG_X):
    return Proxy(name, body, shape, size, pos, quat, role="internal")


# A finger's box collides with a row of spheres in its side of the stick. With a pyramidal friction cone the light stick
# would hop when a finger moves it along the table.
_FEET = tuple(
    _internal(f"foot{i}", "stick", "sphere", (0.004,), (0.045 * x, 0.016 * y, -0.016))
    for i, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1)))
)
_SIDES = {
    side: tuple(
        _internal(f"{side}_side{i}", "stick", "sphere", (0.012,), (x, -0.008 * inwards, z))
        for i, (x, z) in enumerate(itertools.product((-0.018, -0.006, 0.006, 0.018, 0.03), (0.0, 0.008)))
    )
    for side, inwards in (("right", 1.0), ("left", -1.0))
}
_GRIP = tuple(
    pair
    for jaw, side in zip(JAWS, ("right", "left"), strict=True)
    for pair in grip_pairs((jaw,), [sphere.name for sphere in _SIDES[side]], friction=HAND_FRICTION)
)
# Stick, fingers and palm collide with the thermos and its handle; all of them are capsules.
_CORE = _internal("stick_core", "stick", "capsule", (0.02, 0.03), (0.0, 0.0, 0.0))
_RODS = tuple(
    _internal(f"{side}_rod{i}", f"{side}claw", "capsule", (0.0045, 0.0405), (0.0, 0.0015 * inwards, z))
    for side, inwards in (("right", 1.0), ("left", -1.0))
    for i, z in enumerate((-0.0105, 0.0105))
)
_PALM = _internal("palm", "hand", "capsule", (0.03, 0.026), (-0.066, 0.0, -0.008), ALONG_Y)
_THERMOS = _internal("thermos", "obj_slidex", "capsule", (0.06, 0.11), (0.0, 0.0, 0.13), (1.0, 0.0, 0.0, 0.0))
_GRIP_BAR = _internal("bar", "obj_slidex", "capsule", (0.008, 0.068), (0.0, -0.135, 0.132), (1.0, 0.0, 0.0, 0.0))
_TOP_BAR = _internal("top_bar", "obj_slidex", "capsule", (0.007, 0.04), (0.0, -0.09, 0.195), ALONG_Y)
_LOW_BAR = _internal("low_bar", "obj_slidex", "capsule", (0.007, 0.04), (0.0, -0.09, 0.069), ALONG_Y)
_BARS = (_GRIP_BAR, _TOP_BAR, _LOW_BAR)

SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_stick_obj.xml",
    placed_bodies=(),
    proxies=(
        TABLE,
        *_FEET, *_SIDES["right"], *_SIDES["left"], *JAWS, _CORE, *_RODS, _PALM, _THERMOS, *_BARS,
    ),
    extra_pairs=(
        *(Pair(foot.name, "table") for foot in _FEET),
        *_GRIP,
        Pair("stick_core", "thermos"),
        *(Pair("stick_core", bar.name) for bar in _BARS),
        *(Pair(rod.name, "bar") for rod in _RODS),
        Pair("palm", "thermos"),
        Pair("palm", "bar"),
        Pair("palm", "top_bar"),
    ),
    elliptic_cone=True,
    solver_iterations=8,
)  # fmt: skip


class StickScene(SawyerEnv):
    """The random vector gives the stick's place and the goal; the thermos always starts at the same place."""

    scene = SCENE

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.1)

    def reset_state(self, initial_data: mujoco.MjData, random_vector: np.ndarray, start: int = 0) -> EnvState:
        state = super().reset_state(initial_data, random_vector, start)
        return state.replace(task=state.task.replace(init_tcp=INIT_TCP))

    def place_thermos(self, data: mujoco.MjData, y: float) -> None:
        """Puts the thermos `y` metres along its slide, drifting."""
        data.joint("obj_slidex").qpos[:], data.joint("obj_slidey").qpos[:] = 0.0, y
        data.joint("obj_slidex").qvel[:], data.joint("obj_slidey").qvel[:] = THERMOS_DRIFT, 0.0

    def stick_and_thermos(self, poses: Poses, thermos_pos: Float[Array, " 3"]) -> Float[Array, " 14"]:
        """Poses of the stick and of the thermos, the latter with zeros for a quaternion."""
        stick = jnp.concatenate([self.body_pos(poses, "stick"), self.geom_quat_xyzw(poses, "objGeom")])
        return jnp.concatenate([stick, thermos_pos, jnp.zeros(4)])

    def pads_touch_stick(self, poses: Poses) -> Bool[Array, ""]:
        """Whether both pads overlap the stick, as official boxes. The official code asks whether both press on it."""
        touching = [
            boxes_overlap(
                self.geom_pos(poses, "objGeom"), self._turn(poses, "objGeom"), STICK_HALF,
                self.geom_pos(poses, pad), self._turn(poses, pad), PAD_HALF,
            )
            for pad in ("leftpad_geom", "rightpad_geom")
        ]  # fmt: skip
        return touching[0] & touching[1]

    def _turn(self, poses: Poses, geom: str) -> Float[Array, "3 3"]:
        return poses.geom_mat[self.mj_model.geom(geom).id].reshape(3, 3)

    def stick_v1(
        self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"], widths: tuple[float, float]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the version "v1" reward, and the distance of "the thermos" to the goal.

        It rewards lifting the stick, bringing it to the thermos and moving the thermos. `widths` are those of the last
        of these terms. As in the official code, "the thermos" is at the observation's numbers 6 to 8, which are the
        stick's height and part of its quaternion.
        """
        task, stick, thermos, tcp = state.task, obs[4:7], obs[6:9], self.tcp(state.physics.poses)
        start = task.constants["stick_init_pos"]
        full_height = STICK_HEIGHT + LIFT
        to_goal, to_thermos = distance(thermos[:2], task.target_pos[:2]), distance(thermos, stick)
        to_stick = distance(stick, tcp)
        reach = jnp.where(to_stick < 0.05, to_stick - jnp.maximum(action[3], 0.0) / 50, to_stick)
        dropped = (stick[2] < STICK_HEIGHT + 0.005) & (to_goal > 0.02) & (to_stick > 0.02)
        picked = (stick[2] >= full_height - 0.01) & ~dropped
        rising = (to_stick < 0.1) & (stick[2] > STICK_HEIGHT + 0.005)
        height = jnp.where(picked, full_height, jnp.where(rising, jnp.minimum(full_height, stick[2]), 0.0))
        at_thermos = jnp.asarray([THERMOS_POS[0], THERMOS_POS[1], full_height])
        near = sum(jnp.exp(-(to_thermos**2) / width) for width in (0.01, 0.001))
        to_place = 1000.0 * (distance(at_thermos, start) + full_height - to_thermos + near)
        max_move = distance(jnp.asarray(THERMOS_POS[:2]), task.target_pos[:2])
        peaks = sum(jnp.exp(-(to_goal**2) / width) for width in widths)
        move = 1000.0 * (max_move - to_goal) + 2000.0 * peaks
        place = jnp.maximum(to_place + jnp.where(to_thermos < 0.05, move, 0.0), 0.0)
        return 100.0 * height + jnp.where(picked & (to_stick < 0.1), place, 0.0) - reach, to_goal


def boxes_overlap(
    center1: Float[Array, " 3"], turn1: Float[Array, "3 3"], half1: np.ndarray,
    center2: Float[Array, " 3"], turn2: Float[Array, "3 3"], half2: np.ndarray,
) -> Bool[Array, ""]:  # fmt: skip
    """Whether two boxes overlap, by the separating-axis theorem. Columns of `turn` are a box's axes."""
    axes1, axes2 = turn1.T, turn2.T
    crosses = jnp.cross(axes1[:, None], axes2[None]).reshape(9, 3)
    axes = jnp.concatenate([axes1, axes2, crosses])
    reach1 = jnp.abs(axes @ turn1) @ half1
    reach2 = jnp.abs(axes @ turn2) @ half2
    return jnp.all(jnp.abs(axes @ (center2 - center1)) <= reach1 + reach2 + 1e-9)
