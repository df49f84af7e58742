"""coffee-pull: grasp the mug under the coffee machine's spout and pull it away.

Source: metaworld 3.0.0, `sawyer_coffee_pull_v3.py`.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import distance, v1_pull
from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.free import place_free
from rcjax.envs.metaworld.tasks.coffee_push import CoffeePush
from rcjax.envs.mjx_env import EnvState


class CoffeePull(CoffeePush):
    """The mug stands under the spout; the goal lies towards the robot. The reward is the one of coffee-push."""

    task = "coffee-pull"
    goal_low = (-0.1, 0.55, -0.001)
    goal_high = (0.1, 0.65, 0.001)
    random_low = (-0.05, 0.7, -0.001, *goal_low)
    random_high = (0.05, 0.75, 0.001, *goal_high)
    prompt = "robot pulling mug from coffee machine"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        mug_pos, target_pos = np.split(random_vector, 2)
        place_free(data, mug_pos)
        self.place_machine(data, mug_pos + np.array([0.0, 0.22, 0.0]))
        return Placement(target_pos=target_pos, object_init_pos=mug_pos)

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Rewards the pull, minus the norm of the mug's x and y and the fingertips' z at reset, not minus the reach."""
        task, mug = state.task, obs[4:7]
        _, terms = super().reward_v1(state, obs, action)
        reach = distance(mug, self.tcp(state.physics.poses))
        to_target = distance(mug[:2], task.target_pos[:2])
        pull = v1_pull(distance(task.object_init_pos[:2], task.target_pos[:2]), to_target)
        length = jnp.linalg.norm(jnp.concatenate([mug[:2], task.init_tcp[2:]]))
        return jnp.where(reach < 0.05, pull, 0.0) - length, terms
