"""window-close: slide the window's pane shut.

Source: metaworld 3.0.0, `sawyer_window_close_v3.py`.
"""

import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import Placement, Reward
from rcjax.envs.metaworld.scenes.window import TRAVEL, WindowScene
from rcjax.envs.mjx_env import EnvState


class WindowClose(WindowScene):
    """The pane is on the right; the goal is the window's centre."""

    task = "window-close"
    handle_site = "handleCloseStart"
    random_low = (0.0, 0.75, 0.2)
    random_high = (0.0, 0.9, 0.2)
    prompt = "robot closing window"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        handle = self.place_window(data, random_vector, TRAVEL)
        return Placement(
            target_pos=random_vector.copy(), object_init_pos=random_vector, constants={"handle_init": handle}
        )

    def reset_state(self, initial_data: mujoco.MjData, random_vector: np.ndarray, start: int = 0) -> EnvState:
        """Returns the official state after a reset, whose first observation shows the pane shut.

        The official reset slides the pane only after its last pass of kinematics.
        """
        state = super().reset_state(initial_data, random_vector, start)
        frame = state.task.frame.at[4].add(-TRAVEL)
        return state.replace(task=state.task.replace(frame=frame, previous_frame=frame))

    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        del action
        start_distance = abs(state.task.constants["handle_init"][0] - state.task.target_pos[0])
        return self.reach_and_slide(state, obs[4:7], start_distance, "gaussian")
