"""The box with a big red button, for the four button-press tasks."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import Proxy

_CAP = Proxy("cap", "button", "box", (0.038, 0.011, 0.038), (0.0, -0.183, 0.0))
_TABLE = Proxy("table", "world", "plane", (0.0, 0.0, 1.0), role="scenery")
BUTTON_PROXIES = (
    _CAP,
    Proxy("case", "box", "box", (0.12, 0.102, 0.12), (0.0, 0.012, 0.0), role="scenery"),
    _TABLE,
)


class ButtonScene(SawyerEnv):
    """Subclasses give the scene, whose box lies on its back or stands."""

    def place_box(self, data: mujoco.MjData, pos: np.ndarray) -> None:
        """Put the box at `pos`, the button out, and bring the kinematics up to date."""
        data.mocap_pos[self.mocap_id("box")] = pos
        data.joint("btnbox_joint").qpos[:] = 0.0
        data.joint("btnbox_joint").qvel[:] = 0.0
        mujoco.mj_kinematics(self.mj_model, data)

    def button_pose(self, poses: Poses, offset: tuple[float, float, float]) -> Float[Array, " 7"]:
        """The button's face, `offset` from its body's origin, and its quaternion w x y z."""
        face = self.body_pos(poses, "button") + jnp.asarray(offset)
        return jnp.concatenate([face, self.body_quat(poses, "button")])
