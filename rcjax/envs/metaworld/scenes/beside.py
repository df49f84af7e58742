"""Scenes whose object may stand where the official reset pulls the hand to.

Such an object keeps the hand away by millimetres, and rewards are scaled by where the hand came to rest. So the initial
state depends on the object's place and on the official contacts, and the hand is pulled in the official scene.
"""

import functools

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import SawyerEnv, pull_hand
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.scenes import official_model


class BesideScene(SawyerEnv):
    """The first of the scene's placed bodies stands where the random vector says while the hand is pulled."""

    further_steps = 0  # control steps for which the official reset continues

    def reset_state(self, initial_data: mujoco.MjData, random_vector: np.ndarray, start: int = 0) -> EnvState:
        return super().reset_state(self._pull_hand_beside(initial_data, random_vector), random_vector, start)

    def _pull_hand_beside(self, initial_data: mujoco.MjData, pos: np.ndarray) -> mujoco.MjData:
        """Returns a copy of `initial_data` with the joints of the official scene whose object is at `pos`.

        The fingertips are those before the further steps.
        """
        model = self._official_model
        model.body(self.scene.placed_bodies[0]).pos = pos
        official = pull_hand(model, self.hand_init_pos)
        data = mujoco.MjData(self.mj_model)
        mujoco.mj_copyData(data, self.mj_model, initial_data)
        for end in ("rightEndEffector", "leftEndEffector"):
            data.site(end).xpos[:] = official.site(end).xpos
        mujoco.mj_step(model, official, nstep=self.further_steps * self.frame_skip)
        for name in ("qpos", "qvel", "qacc_warmstart"):
            getattr(data, name)[:] = getattr(official, name)
        return data

    @functools.cached_property
    def _official_model(self) -> mujoco.MjModel:
        return official_model(self.scene.xml)
