"""Objects that may be where the official reset pulls the hand to.

They hold the hand off by millimetres, and rewards are scaled by where it came to rest. So the start depends on the
object's place and on the official contacts: the hand is pulled in the official scene, beside the object.
"""

import functools

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import SawyerEnv, pull_hand
from rcjax.envs.mjx_env import EnvState
from rcjax.envs.scenes import official_model


class BesideScene(SawyerEnv):
    """The first of the scene's placed bodies stands where the random vector says as the hand is pulled."""

    further_steps = 0  # control steps that the official reset goes on for

    def reset_state(self, held: mujoco.MjData, random_vector: np.ndarray, start: int = 0) -> EnvState:
        return super().reset_state(self._held_beside(held, random_vector), random_vector, start)

    def _held_beside(self, held: mujoco.MjData, pos: np.ndarray) -> mujoco.MjData:
        """`held` with the official scene's joints, its fingertips before the further steps, and its object at
        `pos`."""
        model = self._official_model
        model.body(self.scene.placed_bodies[0]).pos = pos
        official = pull_hand(model, self.hand_init_pos)
        data = mujoco.MjData(self.mj_model)
        mujoco.mj_copyData(data, self.mj_model, held)
        for end in ("rightEndEffector", "leftEndEffector"):
            data.site(end).xpos[:] = official.site(end).xpos
        mujoco.mj_step(model, official, nstep=self.further_steps * self.frame_skip)
        for name in ("qpos", "qvel", "qacc_warmstart"):
            getattr(data, name)[:] = getattr(official, name)
        return data

    @functools.cached_property
    def _official_model(self) -> mujoco.MjModel:
        return official_model(self.scene.xml)
