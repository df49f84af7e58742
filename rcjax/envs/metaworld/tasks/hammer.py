"""hammer: drive the nail into the block with the hammer.

Source: metaworld 3.0.0, `sawyer_hammer_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.pick_v1 import Lift, place_span
from rcjax.envs.metaworld.rewards import Terms, distance, tolerance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward, SawyerEnv
from rcjax.envs.metaworld.scenes.free import place_free, settled_pose_as_in_xml
from rcjax.envs.metaworld.scenes.grip import JAW_EDGES, grip_pairs
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, TABLE, Pair, Proxy, SceneSpec

XML = "sawyer_xyz/sawyer_hammer.xml"
HEAD = (0.16, 0.06, 0.0)  # metres from the hammer's origin to its striking face, as it first lies
TARGET_POS = (0.24, 0.74, 0.11)
DRIVEN_IN = 0.09  # metres along the nail's joint
LIFT_BY = 0.09
HANDLE_LENGTH = 0.14
TABLE_SOLIMP = (0.945, 0.97, 0.0055, 0.5, 2.0)  # between the hammer's official value and the table's
_HANDLE = Proxy("handle", "hammer", "capsule", (0.02, 0.14), (0.0, 0.0, 0.0), ALONG_X, role="internal")
_FEET = (
    Proxy("handle_end", "hammer", "sphere", (0.02,), (-0.14, 0.0, 0.0), role="internal"),
    Proxy("head_front", "hammer", "sphere", (0.038,), (0.16, 0.056, 0.0), role="internal"),
    Proxy("head_back", "hammer", "sphere", (0.038,), (0.16, -0.056, 0.0), role="internal"),
)
# The head's striking face: its middle and its rim. It hits the nail well above the nail's middle.
_FACE = tuple(
    Proxy(f"face{i}", "hammer", "sphere", (0.004,), (0.16 + x, 0.068, z), role="internal")
    for i, (x, z) in enumerate(
        ((0.0, 0.0), (0.0, -0.034), (-0.024, -0.024), (0.024, -0.024), (-0.034, 0.0), (0.034, 0.0))
    )
)
_NAIL = Proxy("nail", "nail_link", "box", (0.03, 0.009, 0.03), role="internal")
_PAIRS = (
    *grip_pairs(JAW_EDGES, ("handle",), friction=1.3),
    *(Pair(foot.name, "table", solref=(0.015, 1.0), solimp=TABLE_SOLIMP) for foot in _FEET),
    *(Pair(face.name, "nail") for face in _FACE),
)


class Hammer(SawyerEnv):
    """The hammer lies at x in [-0.1, 0.1]; the nail sticks out of a block to the right, 11 cm up."""

    task = "hammer"
    scene = SceneSpec(
        xml=XML,
        placed_bodies=(),
        proxies=(*JAW_EDGES, _HANDLE, *_FEET, *_FACE, _NAIL, TABLE),
        extra_pairs=_PAIRS,
        goal_sites=(),
    )
    hand_init_pos = (0.0, 0.4, 0.2)
    goal_low = (0.2399, 0.7399, 0.109)
    goal_high = (0.2401, 0.7401, 0.111)
    random_low = (-0.1, 0.4, 0.0)
    random_high = (0.1, 0.5, 0.0)
    prompt = "robot hammering nail"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        place_free(data, random_vector, settled_pose_as_in_xml(XML, tuple(self.hand_init_pos))[3:])
        return Placement(target_pos=np.array(TARGET_POS), object_init_pos=random_vector)

    def object_pose(self, poses: Poses) -> Float[Array, " 14"]:
        """Poses of the hammer and of the nail."""
        names = ("hammerbody", "nail_link")
        parts = [(self.body_pos(poses, name), self.body_quat(poses, name)) for name in names]
        return jnp.concatenate([number for part in parts for number in part])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging and the head's place, scaled by how flat the hammer lies.

        10 with the nail driven in, as long as the rest of the reward is above 5.
        """
        hand, hammer, target_pos = obs[:3], obs[4:7], state.task.target_pos
        at_hand = hammer.at[0].set(hand[0])  # anywhere along the handle will do
        near_hand = jnp.abs(hammer[0] - hand[0]) < HANDLE_LENGTH / 2
        grasped = self.caging(
            state, action, jnp.where(near_hand, at_hand, hammer),
            object_reach_radius=0.01, obj_radius=0.015, pad_success_thresh=0.02, xz_thresh=0.01, density="high",
        )  # fmt: skip
        flat = jnp.maximum(1.0 - jnp.linalg.norm(obs[7:11] - jnp.array([1.0, 0.0, 0.0, 0.0])) / 0.4, 0.0)
        head = hammer + jnp.asarray(HEAD)
        in_place = 0.1 * (head[2] > 0.02) + 0.9 * tolerance(distance(head, target_pos), 0.0, 0.02, 0.2, "long_tail")
        reward = (2.0 * grasped + 6.0 * in_place) * flat
        success = self._driven_in(state)
        return jnp.where(success & (reward > 5.0), 10.0, reward), _terms(success, flat, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards reaching, lifting, and bringing the head to the nail and the nail to its target."""
        task, poses, hammer = state.task, state.physics.poses, obs[4:7]
        start = task.object_init_pos[2]
        lift = Lift(height=hammer[2], start=start, target=start + LIFT_BY)
        nail = self.site_pos(poses, "nailHead")
        to_nail = distance(nail, self.geom_pos(poses, "HammerHead"))
        reach, to_target = distance(hammer, self.tcp(poses)), jnp.abs(nail[1] - task.target_pos[1])
        held = lift.completed & ~lift.dropped(to_nail, reach)
        span = place_span(task.object_init_pos, lift.target, task.object_init_pos)
        span = span + jnp.abs(task.object_init_pos[1] - task.target_pos[1])
        closing = jnp.where(reach < 0.05, jnp.maximum(action[3], 0.0) / 50.0, 0.0)
        reward = (
            closing
            - reach
            + lift.reward(held, reach < 0.1)
            + jnp.where(held & (reach < 0.1), v1_pull(span, to_nail + to_target), 0.0)
        )
        return reward, _terms(self._driven_in(state), 0.0, 0.0, 0.0)

    def _driven_in(self, state: EnvState) -> Array:
        return self.joint_qpos(state, "NailSlideJoint") > DRIVEN_IN


def _terms(success: Array, flat: Array | float, grasped: Array | float, in_place: Array | float) -> Terms:
    return {
        "success": success,
        "near_object": flat,
        "grasp_success": jnp.asarray(grasped) >= 0.5,
        "grasp_reward": grasped,
        "in_place_reward": in_place,
        "obj_to_target": 0.0,
    }
