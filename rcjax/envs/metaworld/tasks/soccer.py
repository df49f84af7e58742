"""soccer: roll the ball into the goal.

Source: metaworld 3.0.0, `sawyer_soccer_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, tolerance
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.scenes.puck import PuckScene, terms
from rcjax.envs.metaworld.scenes.soccer import SOCCER_SCENE
from rcjax.envs.mjx_env import EnvState

TARGET_RADIUS = 0.07  # metres
GOAL_DEPTH = 0.1  # from the goal's line to its middle
GOAL_HALF_WIDTH = 0.1


class Soccer(PuckScene):
    """The goal stands behind the ball, which is dropped from 4 mm."""

    task = "soccer"
    scene = SOCCER_SCENE
    object_body = "soccer_ball"
    goal_low = (-0.1, 0.8, 0.0)
    goal_high = (0.1, 0.9, 0.0)
    random_low = (-0.1, 0.6, 0.03, *goal_low)
    random_high = (0.1, 0.7, 0.03, *goal_high)
    prompt = "robot pushing ball into goal"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        ball_pos, target_pos = np.split(random_vector, 2)
        data.mocap_pos[self.mocap_id("goal_whole")] = target_pos
        place_free(data, ball_pos)
        return Placement(target_pos=target_pos, object_init_pos=ball_pos)

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards caging and place, where x counts three times as much; 10 at the goal.

        The margin of the place is how far the ball has come, not how far it had to go. A ball that passes beside the
        goal loses some of the place.
        """
        del action
        task, ball = state.task, obs[4:7]
        to_ball = distance(ball, self.tcp(state.physics.poses))
        scale = jnp.array([3.0, 1.0, 1.0])
        scaled_distance = distance(ball * scale, task.target_pos * scale)
        margin = distance(ball * scale, task.object_init_pos * scale)
        in_place = tolerance(scaled_distance, 0.0, TARGET_RADIUS, margin, "long_tail")
        line = task.target_pos[1] - GOAL_DEPTH
        missed = (ball[1] > line) & (jnp.abs(ball[0] - task.target_pos[0]) > GOAL_HALF_WIDTH)
        penalty = 2.0 * (ball[1] - line) / (1.0 - line)
        in_place = jnp.where(missed, jnp.clip(in_place - penalty, 0.0, 1.0), in_place)
        grasped = self.pinching(state, ball, radius=0.013, slack=0.01, xz_thresh=0.005)
        reward = jnp.where(scaled_distance < TARGET_RADIUS, 10.0, 3.0 * grasped + 6.5 * in_place)
        return reward, terms(distance(ball, task.target_pos), TARGET_RADIUS, to_ball, grasped, in_place)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        return self.push_v1(state, obs, TARGET_RADIUS)
