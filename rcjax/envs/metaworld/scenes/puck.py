"""A small free object on the table, and the wooden puck of the reach, push and pick-place tasks.

The puck's official collision geom is a cylinder. Here two spheres stand for its side, which finger boxes grip, and
four small spheres, the feet, for the rim that it rests on.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import Terms, distance, hamacher_product, tolerance, v1_pull, v1_reach_and_pull
from rcjax.envs.metaworld.sawyer import Reward, SawyerEnv
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec

REST_HEIGHT = 0.0199676407  # metres: where the official puck's centre settles on the official table
PAD_THRESH = 0.05  # metres along y within which a pad is beside the object
MIN_DISTANCE = 0.15  # metres in the plane from object to goal; random vectors with less are drawn again
FOOT_RADIUS = 0.004

# At a friction of 2, MuJoCo's pyramidal cone is a tenth as stiff along the normal as the official elliptic one. So
# 1 - d is a tenth of the official pads' 0.03, where d is the share of a contact's reference acceleration that the
# solver enforces.
GRIP_SOLIMP = (0.997, 0.999, 0.01, 0.5, 2.0)

HAND_TORSION = 0.1  # metres: the fingers' official torsional friction
TABLE_SOLREF = (0.015, 1.0)  # the official contacts between an object and the table
TABLE_SOLIMP = (0.945, 0.97, 0.0055, 0.5, 2.0)

WALL = Proxy("wall", "wall", "box", (0.12, 0.01, 0.06), role="scenery")


FINGERS = tuple(
    Proxy(f"{side}_grip", f"{side}claw", "box", (0.045, 0.0045, 0.015), (0.0, y, 0.0), role="internal")
    for side, y in (("right", 0.0015), ("left", -0.0015))
)


def feet(half_width: float, bottom: float) -> tuple[Proxy, ...]:
    """Four spheres at (+-half_width, +-half_width) whose lowest points are `bottom` above the body's origin, metres."""
    return tuple(
        Proxy(
            f"foot{i}", "obj", "sphere", (FOOT_RADIUS,), (half_width * x, half_width * y, bottom + FOOT_RADIUS),
            role="internal",
        )
        for i, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1)))
    )  # fmt: skip


def puck(radius: float, half_height: float) -> tuple[Proxy, ...]:
    """The side of an upright cylinder as two spheres, the fingers, and feet on the cylinder's rim."""
    heights = (-half_height / 4, 0.75 * half_height)  # grasped by its upper part, as fingers end above the table
    sides = (
        Proxy(f"side{i}", "obj", "sphere", (radius,), (0.0, 0.0, z), role="internal") for i, z in enumerate(heights)
    )
    return (*sides, *FINGERS, *feet(radius / 2**0.5, -half_height))


def finger_pairs(proxies: tuple[Proxy, ...]) -> tuple[Pair, ...]:
    """Pairs of the fingers with those of `proxies` that are sides of the puck."""
    sides = (proxy.name for proxy in proxies if proxy.name.startswith("side"))
    return tuple(
        Pair(finger.name, side, friction=HAND_FRICTION, margin=MARGIN, solimp=GRIP_SOLIMP)
        for side in sides
        for finger in FINGERS
    )


def table_pairs(proxies: tuple[Proxy, ...], friction: float = 1.0) -> tuple[Pair, ...]:
    """Pairs of the table with those of `proxies` that are feet."""
    return tuple(Pair(proxy.name, "table", friction=friction) for proxy in proxies if proxy.name.startswith("foot"))


_PUCK = puck(0.02, 0.02)


def puck_scene(xml: str) -> SceneSpec:
    """The puck of 4 cm by 4 cm on a bare table."""
    pairs = (*finger_pairs(_PUCK), *table_pairs(_PUCK))
    return SceneSpec(xml=xml, placed_bodies=(), proxies=(*_PUCK, TABLE), extra_pairs=pairs)


def puck_wall_scene(xml: str) -> SceneSpec:
    """The puck on a table with a brick wall, 12 cm high, that stops hand and puck."""
    pairs = (*finger_pairs(_PUCK), *table_pairs(_PUCK), Pair("side0", "wall"), Pair("side1", "wall"))
    return SceneSpec(xml=xml, placed_bodies=(), proxies=(*_PUCK, TABLE, WALL), extra_pairs=pairs)


def terms(
    to_target: Array, success_radius: float, to_object: Array | float = 0.0, grasp: Array | float = 0.0,
    in_place: Array | float = 0.0,
) -> Terms:  # fmt: skip
    """A reward's terms by Metaworld's names. Version 1 leaves the last three arguments at 0."""
    return {
        "success": to_target <= success_radius,
        "near_object": jnp.asarray(to_object) <= 0.03,
        "grasp_reward": grasp,
        "in_place_reward": in_place,
        "obj_to_target": to_target,
    }


class PuckScene(SawyerEnv):
    """One free object, placed by the random vector's first three numbers; the last three place the goal."""

    object_body = "obj"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= MIN_DISTANCE)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.body_pos(poses, self.object_body), self.geom_quat_xyzw(poses, "objGeom")])

    def in_place(self, state: EnvState, to_target: Array, radius: float) -> Float[Array, ""]:
        """1 within `radius` of the target, falling to 0.1 at a further distance as large as the one at the start."""
        margin = distance(state.task.object_init_pos, state.task.target_pos)
        return tolerance(to_target, 0.0, radius, margin, "long_tail")

    def pad_caging(
        self, state: EnvState, object_pos: Float[Array, " 3"], radius: float, xz_thresh: float
    ) -> tuple[Float[Array, ""], Float[Array, " 2"], Float[Array, " 2"]]:
        """Returns how well the pads enclose the object, each pad's distance from it along y, and the margins of those.

        Unlike in `rewards.caging_reward`, a pad on the wrong side of the object counts as outside, and the margins are
        those of the object's present position, not of its initial one.
        """
        task, poses = state.task, state.physics.poses
        left, right = self.site_pos(poses, "leftpad")[1], self.site_pos(poses, "rightpad")[1]
        gaps = jnp.stack([left - object_pos[1], object_pos[1] - right])
        margins = jnp.abs(jnp.abs(gaps) - PAD_THRESH)
        beside = tolerance(gaps, radius, PAD_THRESH, margins, "long_tail")
        xz = jnp.array([0, 2])
        xz_margin = distance(task.object_init_pos[xz], task.init_tcp[xz]) - xz_thresh
        above = tolerance(distance(self.tcp(poses)[xz], object_pos[xz]), 0.0, xz_thresh, xz_margin, "long_tail")
        return hamacher_product(hamacher_product(beside[0], beside[1]), above), gaps, margins

    def pinching(
        self, state: EnvState, object_pos: Float[Array, " 3"], *, radius: float, slack: float, xz_thresh: float
    ) -> Float[Array, ""]:
        """Rewards caging and, once it is good, both pads within `slack` metres of the object."""
        caging, gaps, margins = self.pad_caging(state, object_pos, radius, xz_thresh)
        tight = tolerance(gaps, radius, radius + slack, margins, "long_tail")
        pinched = jnp.where(caging > 0.95, hamacher_product(tight[0], tight[1]), 0.0)
        return (caging + pinched) / 2

    def push_v1(self, state: EnvState, obs: Float[Array, " 39"], success_radius: float) -> Reward:
        """The version "v1" reward of the tasks that push the object along the table."""
        task, pos = state.task, obs[4:7]
        to_target = distance(pos[:2], task.target_pos[:2])
        max_push = distance(task.object_init_pos[:2], task.target_pos[:2])
        reward = v1_reach_and_pull(distance(pos, self.tcp(state.physics.poses)), max_push, to_target)
        return reward, terms(to_target, success_radius)

    def pick_v1(
        self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"], lift: float = 0.04
    ) -> Reward:
        """The version "v1" reward of the tasks that lift the object: reach, lift by `lift` metres, and the pull."""
        task, pos, tcp = state.task, obs[4:7], self.tcp(state.physics.poses)
        to_object, to_target = distance(pos, tcp), distance(pos, task.target_pos)
        start_height = task.object_init_pos[2]
        full_height = start_height + lift
        to_object_xy = distance(pos[:2], tcp[:2])
        reach = jnp.where(to_object_xy < 0.05, to_object, to_object_xy + 2 * jnp.abs(tcp[2] - task.init_tcp[2]))
        reach = jnp.where(to_object < 0.05, to_object - jnp.maximum(action[3], 0.0) / 50, reach)
        dropped = (pos[2] < start_height + 0.005) & (to_target > 0.02) & (to_object > 0.02)
        picked = (pos[2] >= full_height - 0.01) & ~dropped
        rising = (to_object < 0.1) & (pos[2] > start_height + 0.005)
        height = jnp.where(picked, full_height, jnp.where(rising, jnp.minimum(full_height, pos[2]), 0.0))
        lifted_start = task.object_init_pos.at[2].set(full_height)
        max_distance = distance(lifted_start, task.target_pos) + full_height
        pull = jnp.where(picked & (to_object < 0.1), v1_pull(max_distance, to_target), 0.0)
        return 100 * height + pull - reach, terms(to_target, 0.07)
