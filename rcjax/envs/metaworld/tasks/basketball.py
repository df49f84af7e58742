"""basketball: grasp the ball and dunk it into the basket.

Source: metaworld 3.0.0, `sawyer_basketball_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import BASE_CORNERS
from rcjax.envs.metaworld.rewards import distance, hamacher_product, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.edges import contact_pairs
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.grip import JAWS, grip_pairs
from rcjax.envs.metaworld.scenes.puck import PuckScene
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import ALONG_X, ALONG_Y, TABLE, Pair, Proxy, SceneSpec

TARGET_RADIUS = 0.08  # metres, with height counted twice
DUNK_HEIGHT = 0.3  # just over the hoop
BALL_RADIUS = 0.03
LIFT = 0.3  # metres by which version 1 has the ball lifted

# Two balls at the same place: officially a finger's claw and its pad have a contact each, and one alone is softer.
_BALLS = tuple(Proxy(f"ball{i}", "bsktball", "sphere", (BALL_RADIUS,), role="internal") for i in range(2))
_RIM = tuple(
    Proxy(f"rim{i}", "basket_goal", "capsule", (0.01, 0.03), (x, y - 0.083, 0.249), quat, role="internal")
    for i, (x, y, quat) in enumerate(
        ((0.0, 0.045, ALONG_X), (0.0, -0.045, ALONG_X), (0.044, 0.0, ALONG_Y), (-0.044, 0.0, ALONG_Y))
    )
)
_BOARD = Proxy("backboard", "basket_goal", "box", (0.1, 0.01, 0.07), (0.0, 0.0, 0.29), role="scenery")
_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_basketball.xml",
    placed_bodies=("basket_goal",),
    proxies=(*_BALLS, *JAWS, *_RIM, *BASE_CORNERS, _BOARD, TABLE),
    extra_pairs=(
        *grip_pairs(JAWS, [ball.name for ball in _BALLS]),
        Pair("ball0", "table"),
        Pair("ball0", "backboard"),
        *(Pair("ball0", part.name) for part in _RIM),
        *contact_pairs(BASE_CORNERS, _RIM),
    ),
    goal_sites=(),
    solver_iterations=8,
)


class Basketball(PuckScene):
    """The ball lies in front of the basket; the goal is the hoop's middle."""

    task = "basketball"
    scene = _SCENE
    object_body = "bsktball"
    goal_low = (-0.1, 0.85 - 0.083, 0.2499)
    goal_high = (0.1, 0.9 + 1e-7 - 0.083, 0.2501)
    random_low = (-0.1, 0.6, 0.0299, -0.1, 0.85, 0.0)
    random_high = (0.1, 0.7, 0.0301, 0.1, 0.9 + 1e-7, 0.0)
    prompt = "robot dunking basketball into basket"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        basket_pos = random_vector[3:]
        data.mocap_pos[self.mocap_id("basket_goal")] = basket_pos
        ball_pos = np.array([*random_vector[:2], BALL_RADIUS])
        place_free(data, ball_pos)
        return Placement(target_pos=basket_pos + np.array([0.0, -0.083, 0.25]), object_init_pos=ball_pos)

    def object_pose(self, poses: Poses) -> Float[Array, " 7"]:
        """Position of the ball and its quaternion w x y z."""
        return jnp.concatenate([self.body_pos(poses, "bsktball"), self.body_quat(poses, "bsktball")])

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards grasp times place, more with the ball lifted; 10 over the hoop. Height counts twice in the place."""
        task, ball = state.task, obs[4:7]
        target, scale = task.target_pos.at[2].set(DUNK_HEIGHT), jnp.array([1.0, 1.0, 2.0])
        to_target, margin = (
            distance(ball * scale, target * scale),
            distance(task.object_init_pos * scale, target * scale),
        )
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, margin, "long_tail")
        to_ball = distance(ball, self.tcp(state.physics.poses))
        caging = self.caging(
            state, action, ball,
            object_reach_radius=0.01, obj_radius=0.025, pad_success_thresh=0.06, xz_thresh=0.005, density="high",
        )  # fmt: skip
        lifted = (to_ball < 0.035) & (obs[3] > 0) & (ball[2] - 0.01 > task.object_init_pos[2])
        grasped = jnp.where(lifted, 1.0, caging)
        reward = hamacher_product(grasped, in_place) + jnp.where(lifted, 1.0 + 5.0 * in_place, 0.0)
        return jnp.where(to_target < TARGET_RADIUS, 10.0, reward), {
            "success": to_target <= TARGET_RADIUS,
            "near_object": to_ball <= 0.05,
            "grasp_success": (obs[3] > 0) & (ball[2] - 0.03 > task.object_init_pos[2]),
            "grasp_reward": grasped,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
        }

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        reward, terms = self.pick_v1(state, obs, action, lift=LIFT)
        to_target = terms["obj_to_target"]
        return reward, {**terms, "success": to_target <= TARGET_RADIUS, "grasp_success": 0.0}
