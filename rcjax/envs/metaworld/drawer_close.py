"""drawer-close: push the green drawer shut.

Source: metaworld 3.0.0, `sawyer_drawer_close_v3.py`, reward version "v2". The class there defines
`_TARGET_RADIUS` = 0.04 and never reads it; the radius in effect is the inherited 0.05, and success allows
0.015 more.
"""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.rewards import hamacher_product, tolerance
from rcjax.envs.mjx_env import EnvState, Poses
from rcjax.envs.sawyer import SawyerEnv
from rcjax.envs.scenes import Proxy, SceneSpec

TARGET_RADIUS = 0.05  # metres
SUCCESS_RADIUS = TARGET_RADIUS + 0.015
REACH_RADIUS = 0.005
OPEN_BY = 0.15  # metres that the drawer is pulled out at reset

_ALONG_X = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)
_TO_FRONT = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)  # a plane's normal along -y


class DrawerClose(SawyerEnv):
    """The drawer stands at x in [-0.1, 0.1] and is open by 15 cm; the goal is its handle's place shut."""

    scene = SceneSpec(
        xml="sawyer_xyz/sawyer_drawer.xml",
        placed_bodies=("drawer",),
        proxies=(
            Proxy("handle", "drawer_link", "capsule", (0.009, 0.05), (0.0, -0.15, 0.0), _ALONG_X),
            Proxy("front", "drawer_link", "box", (0.1, 0.008, 0.052), (0.0, -0.082, 0.008)),
            Proxy("case", "drawer", "box", (0.118, 0.1, 0.084), (0.0, 0.0, 0.084), role="scenery"),
            Proxy("table", "world", "plane", (0.0, 0.0, 1.0), role="scenery"),
            # The wall behind stops the drawer: its back meets it where its joint meets its limit.
            Proxy("back", "drawer_link", "sphere", (0.008,), (0.0, 0.082, 0.008), role="internal"),
            Proxy("wall", "world", "plane", (0.0, 0.0, 1.0), (0.0, 0.98, 0.0), _TO_FRONT, role="internal"),
        ),
        extra_pairs=(("back", "wall", 1),),
    )
    random_low = (-0.1, 0.9, 0.0)
    random_high = (0.1, 0.9, 0.0)
    prompt = "robot closing green drawer"

    def __init__(self, **options):
        super().__init__(**options)
        self._drawer = self.mj_model.body("drawer_link").id

    @property
    def name(self) -> str:
        return "drawer-close"

    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> np.ndarray:
        data.mocap_pos[self.mocap_id("drawer")] = random_vector
        data.joint("goal_slidey").qpos[:] = -OPEN_BY
        return random_vector + np.array([0.0, -0.16, 0.09])

    def object_pos_quat(self, poses: Poses) -> Float[Array, " 7"]:
        """A point above the handle; the quaternion reads zeros."""
        return jnp.pad(poses.body_pos[self._drawer] + jnp.array([0.0, -0.16, 0.05]), (0, 4))

    def evaluate(
        self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Reward in [0, 10]: reach times place, or 10 once shut."""
        task, tcp, drawer = state.task, self.tcp(state.poses), obs[4:7]
        to_target = jnp.linalg.norm(drawer - task.target_pos)
        to_target_at_start = jnp.linalg.norm(task.object_init_pos - task.target_pos)
        to_drawer = jnp.linalg.norm(drawer - tcp)
        to_drawer_at_start = jnp.linalg.norm(task.object_init_pos - task.init_tcp)

        place_margin = jnp.abs(to_target_at_start - TARGET_RADIUS)
        in_place = tolerance(to_target, 0.0, TARGET_RADIUS, place_margin, "long_tail")
        reach_margin = jnp.abs(to_drawer_at_start - REACH_RADIUS)
        near = tolerance(to_drawer, 0.0, REACH_RADIUS, reach_margin, "gaussian")
        reach = hamacher_product(near, jnp.clip(action[3], 0.0, 1.0))

        success = to_target <= SUCCESS_RADIUS
        reward = 10.0 * jnp.where(success, 1.0, hamacher_product(reach, in_place))
        terms = {
            "success": success.astype(jnp.float32),
            "near_object": (to_drawer <= 0.01).astype(jnp.float32),
            "grasp_success": jnp.ones(()),
            "grasp_reward": reach,
            "in_place_reward": in_place,
            "obj_to_target": to_target,
            "unscaled_reward": reward,
        }
        return reward, terms
