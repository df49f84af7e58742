"""window-open: slide the window's pane open.

Source: metaworld 3.0.0, `sawyer_window_open_v3.py`.
"""

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.window import TRAVEL, WindowScene
from rcjax.envs.mjx_env import EnvState


class WindowOpen(WindowScene):
    """The pane is on the left; the goal is 20 cm to the right of the window's centre."""

    task = "window-open"
    handle_site = "handleOpenStart"
    random_low = (-0.1, 0.7, 0.16)
    random_high = (0.1, 0.9, 0.16)
    prompt = "robot opening window"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        handle = self.place_window(data, random_vector, 0.0)
        target_pos = random_vector + np.array([TRAVEL, 0.0, 0.0])
        return Placement(target_pos=target_pos, object_init_pos=random_vector, constants={"handle_init": handle})

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        start_distance = abs(state.task.object_init_pos[0] - state.task.target_pos[0])
        return self.reach_and_slide(state, obs[4:7], start_distance, "long_tail")
