"""shelf-place: grasp the blue block and put it on the shelf.

Source: metaworld 3.0.0, `sawyer_shelf_place_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import BASE_CORNERS
from rcjax.envs.metaworld.rewards import distance, hamacher_product
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.edges import contact_pairs
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.grip import JAWS, grip_pairs
from rcjax.envs.metaworld.scenes.puck import PuckScene, feet, table_pairs, terms
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.scenes import TABLE, Pair, Proxy, SceneSpec

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = 0.07
BOARD_HEIGHT = 0.24  # metres, of the board that the block is put on
REST_HEIGHT = 0.0199681034  # metres: where the official block's centre settles on the official table

# Each finger's box collides with two spheres in its side of the block, and its tip presses on the block's top. The
# block's moment of inertia keeps it from turning. Friction 2 makes the grip as soft as the official one, which loses
# blocks too.
_SIDES = {
    side: tuple(
        Proxy(f"{side}_side{i}", "obj", "sphere", (0.01,), (x, -0.01 * inwards, 0.006), role="internal")
        for i, x in enumerate((-0.008, 0.008))
    )
    for side, inwards in (("right", 1.0), ("left", -1.0))
}
_BLOCK = Proxy("block", "obj", "box", (0.02, 0.02, 0.02), role="internal")
_TIPS = tuple(
    Proxy(f"{side}_tip{i}", f"{side}claw", "sphere", (0.0045,), (0.0405, 0.0015 * inwards, z), role="internal")
    for side, inwards in (("right", 1.0), ("left", -1.0))
    for i, z in enumerate((-0.0105, 0.0105))
)
_FEET = feet(0.016, -0.02)
_SHELF = _BOARD, _BACK, *_WALLS = tuple(
    Proxy(name, "shelf", "box", size, pos, role="internal")
    for name, size, pos in (
        ("board", (0.1, 0.095, 0.01), (0.0, -0.015, BOARD_HEIGHT)),
        ("back", (0.1, 0.01, 0.32), (0.0, 0.09, 0.32)),
        ("left_wall", (0.01, 0.1, 0.32), (-0.11, 0.0, 0.32)),
        ("right_wall", (0.01, 0.1, 0.32), (0.11, 0.0, 0.32)),
    )
)
_GRIP = tuple(
    pair
    for jaw, side in zip(JAWS, ("right", "left"), strict=True)
    for pair in grip_pairs((jaw,), [sphere.name for sphere in _SIDES[side]], friction=2.0)
)


class ShelfPlace(PuckScene):
    """The block lies on the table; the goal is over the middle board of a shelf with walls on both sides."""

    task = "shelf-place"
    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_shelf_placing.xml",
        placed_bodies=("shelf",),
        proxies=(
            _BLOCK,
            *_SIDES["right"],
            *_SIDES["left"],
            *_FEET,
            *JAWS,
            *_TIPS,
            *BASE_CORNERS,
            TABLE,
            *_SHELF,
        ),
        extra_pairs=(
            *_GRIP,
            *grip_pairs(_TIPS, ("block",), friction=2.0),
            *table_pairs(_FEET, friction=2.0),
            *(Pair(foot.name, "board", friction=2.0) for foot in _FEET),
            *(Pair(foot.name, "back", condim=1) for foot in _FEET[:2]),
            *contact_pairs(_TIPS, (_BOARD,)),
            *contact_pairs(BASE_CORNERS, (_BOARD, *_WALLS)),
        ),
        goal_sites=(),
    )
    goal_low = (-0.1, 0.8, 0.299)
    goal_high = (0.1, 0.9, 0.301)
    random_low = (-0.1, 0.5, 0.019, *goal_low)
    random_high = (0.1, 0.6, 0.021, *goal_high)
    prompt = "robot placing blue block on shelf"

    def accepts(self, random_vector: np.ndarray) -> bool:
        return bool(np.linalg.norm(random_vector[:2] - random_vector[3:5]) >= 0.1)

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        target_pos = random_vector[3:]
        data.mocap_pos[self.mocap_id("shelf")] = target_pos - np.array([0.0, 0.0, 0.3])
        block_pos = np.array([*random_vector[:2], REST_HEIGHT])
        place_free(data, block_pos)
        return Placement(target_pos=target_pos, object_init_pos=block_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging times place, more with the block lifted; 10 at the goal.

        Below the board the place counts less.
        """
        task, block = state.task, obs[4:7]
        to_target, to_block = distance(block, task.target_pos), distance(block, self.tcp(state.physics.poses))
        grasped = self.caging(
            state, action, block, object_reach_radius=0.01, obj_radius=0.02, pad_success_thresh=0.05, xz_thresh=0.01
        )
        in_place = self.in_place(state, to_target, TARGET_RADIUS)
        reward = hamacher_product(grasped, in_place)
        in_place = _less_below_board(in_place, block, task.target_pos)
        lifted = (to_block < 0.025) & (obs[3] > 0) & (block[2] - 0.01 > task.object_init_pos[2])
        reward = reward + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
        reward = jnp.where(to_target < TARGET_RADIUS, 10.0, reward)
        return reward, terms(to_target, SUCCESS_RADIUS, to_block, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        return self.pick_v1(state, obs, action)


def _less_below_board(in_place: Array, block: Float[Array, " 3"], target: Float[Array, " 3"]) -> Float[Array, ""]:
    """The reward of the place, which falls in front of the shelf below its board, and is 0 there behind the target."""
    below = (block[2] > 0.0) & (block[2] < BOARD_HEIGHT) & (jnp.abs(block[0] - target[0]) < 0.15)
    depth = 3 * TARGET_RADIUS
    front = target[1] - depth
    before = below & (front < block[1]) & (block[1] < target[1])
    how_low = jnp.where(before, (BOARD_HEIGHT - block[2]) / BOARD_HEIGHT, 0.0)
    how_far = jnp.where(before, (block[1] - front) / depth, 0.0)
    in_place = jnp.clip(in_place - hamacher_product(how_far, how_low), 0.0, 1.0)
    return jnp.where(below & (block[1] > target[1]), 0.0, in_place)
