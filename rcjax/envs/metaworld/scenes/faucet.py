"""The tap with a long handle, for faucet-open and faucet-close."""

import mujoco
import numpy as np

from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.scenes import Proxy, SceneSpec

HANDLE_LENGTH = 0.175  # metres
_ALONG_Y = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)


def faucet_scene(goal_site: str) -> SceneSpec:
    return SceneSpec(
        xml="sawyer_xyz/sawyer_faucet.xml",
        placed_bodies=("faucetBase",),
        proxies=(
            Proxy("handle", "faucet_link2", "capsule", (0.017, 0.055), (0.0, -0.12, 0.001), _ALONG_Y),
            Proxy("table", "world", "plane", (0.0, 0.0, 1.0), role="scenery"),
        ),
        goal_sites=(goal_site,),
    )


class FaucetScene(SawyerEnv):
    """The handle points to the robot and turns a quarter to either side."""

    hand_init_pos = (0.0, 0.4, 0.2)
    mocap_low = (-0.5, 0.40, -0.15)
    goal_low = mocap_low

    def place_faucet(self, data: mujoco.MjData, pos: np.ndarray) -> None:
        data.mocap_pos[self.mocap_id("faucetBase")] = pos
