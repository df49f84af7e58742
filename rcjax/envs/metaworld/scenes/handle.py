"""The box with a handle that slides up and down, for the four handle tasks."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance, v1_terms
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.beside import BesideScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, MARGIN, TABLE, Pair, Proxy, SceneSpec

PRESS_RADIUS = 0.02  # metres along z

_PALM = Proxy("palm", "hand", "sphere", (0.03,), (-0.069, 0.0, -0.008), role="internal")
_SCENERY = (
    Proxy("case", "box", "box", (0.086, 0.11, 0.11), (0.0, 0.0, 0.11), role="scenery"),
    TABLE,
)


def _fingers(name: str, across: tuple[float, ...]) -> tuple[Proxy, ...]:
    """Spheres half as thick as a finger at its tip and its middle, at these places across its width (metres)."""
    return tuple(
        Proxy(f"{side}_{name}_{i}{j}", f"{side}claw", "sphere", (0.0045,), (x, inwards * 0.0015, z), role="internal")
        for side, inwards in (("right", 1.0), ("left", -1.0))
        for i, x in enumerate((0.0405, -0.005))
        for j, z in enumerate(across)
    )


def _handle_scene(
    xml: str, proxies: tuple[Proxy, ...], collisions: tuple[tuple[Proxy, tuple[Proxy, ...]], ...]
) -> SceneSpec:
    """`collisions` are parts of the handle with the spheres of fingers that they collide with, besides the palm."""
    fingers = tuple(finger for _, spheres in collisions for finger in spheres)
    return SceneSpec(
        xml=f"sawyer_xyz/{xml}",
        placed_bodies=("box",),
        proxies=(*proxies, *(part for part, _ in collisions), *fingers, _PALM, *_SCENERY),
        extra_pairs=tuple(
            Pair(finger.name, part.name, margin=MARGIN) for part, spheres in collisions for finger in (*spheres, _PALM)
        ),
        goal_sites=(),
    )


# The lever is 22 mm high and the handle 44 mm thick, and fingers sink in deeper before the damped slide gives way. So
# the boxes extend some cm below, where what presses from above is not pushed out sideways or at the bottom.
FRONT_SCENE = _handle_scene(
    "sawyer_handle_press.xml",
    (Proxy("handle", "handle_link", "capsule", (0.022, 0.055), (0.0, -0.166, 0.0), ALONG_X),),
    (
        (
            # Its width and half a finger's on either side, along x here.
            Proxy("lever", "handle_link", "box", (0.0425, 0.075, 0.026), (0.0, -0.081, -0.015), role="internal"),
            _fingers("middle", (0.0,)),
        ),
    ),
)
SIDE_SCENE = _handle_scene(
    "sawyer_handle_press_sideways.xml",
    (),
    (
        (
            # Its thickness and half a finger's width in front and behind.
            Proxy("handle", "handle_link", "box", (0.07, 0.0325, 0.031), (0.0, -0.166, -0.009), role="internal"),
            _fingers("middle", (0.0,)),
        ),
        (
            Proxy("lever", "handle_link", "box", (0.032, 0.075, 0.026), (0.0, -0.081, -0.015), role="internal"),
            _fingers("edge", (-0.0105, 0.0105)),
        ),
    ),
)


class HandleScene(BesideScene):
    """The handle slides in a slot of the box, 10 cm down from where it is 15 cm above the table."""

    def place_handle(self, data: mujoco.MjData, pos: np.ndarray, height: float) -> None:
        """Puts the box at `pos` and the handle, at rest, `height` metres below its highest position.

        Brings the kinematics up to date.
        """
        data.mocap_pos[self.mocap_id("box")] = pos
        joint = self.mj_model.body("handle_link").jntadr[0]
        data.qpos[self.mj_model.jnt_qposadr[joint]] = -height
        data.qvel[self.mj_model.jnt_dofadr[joint]] = 0.0
        mujoco.mj_kinematics(self.mj_model, data)

    def point_pose(self, poses: Poses, site: str) -> Float[Array, " 7"]:
        """Position of a site of the handle; zeros where other tasks have a quaternion."""
        return jnp.concatenate([self.site_pos(poses, site), jnp.zeros(4)])


class PressScene(HandleScene):
    """The handle is up; the goal is 97 mm lower.

    Source: metaworld 3.0.0, `sawyer_handle_press_v3.py`.
    """

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        self.place_handle(data, random_vector, height=0.001)
        target_pos = data.site("goalPress").xpos.copy()
        travel = abs(data.site("handleStart").xpos[2] - target_pos[2])
        return Placement(target_pos=target_pos, constants={"travel": travel})

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return self.point_pose(poses, "handleStart")

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reach times place; 10 once the handle is down."""
        del action
        task, handle = state.task, obs[4:7]
        to_target = jnp.abs(handle[2] - task.target_pos[2])
        place_margin = jnp.abs(task.constants["travel"] - PRESS_RADIUS)
        in_place = tolerance(to_target, 0.0, PRESS_RADIUS, place_margin, "long_tail")
        to_handle = distance(handle, self.tcp(state.physics.poses))
        reach_margin = jnp.abs(distance(task.object_init_pos, task.init_tcp) - PRESS_RADIUS)
        reach = tolerance(to_handle, 0.0, PRESS_RADIUS, reach_margin, "long_tail")
        down = to_target <= PRESS_RADIUS
        return jnp.where(down, 10.0, 10.0 * hamacher_product(reach, in_place)), {
            "success": down,
            "near_object": to_handle <= 0.05,
            "grasp_success": 1.0,
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        reward, to_target = self.finger_v1(state, obs, axis=2, max_distance=state.task.constants["travel"])
        return reward, v1_terms(to_target, PRESS_RADIUS, grasp_success=1.0)
