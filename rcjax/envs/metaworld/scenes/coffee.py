"""The coffee machine and its mug, for coffee-push, coffee-pull and coffee-button."""

import jax.numpy as jnp
import mujoco
import numpy as np
from jax import Array
from jaxtyping import Float

from rcjax.envs.metaworld.hand import FINGER_BOXES
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.physics import Poses
from rcjax.envs.scenes import HAND_FRICTION, MARGIN, TABLE, Pair, Proxy, SceneSpec

MUG_RADIUS = 0.028
_FEET = tuple(
    Proxy(f"mug_foot{i}", "obj", "sphere", (0.004,), (0.02 * x, 0.02 * y, 0.006), role="internal")
    for i, (x, y) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1)))
)
_FINGERS = FINGER_BOXES
_MUG = tuple(
    Proxy(f"mug{i}", "obj", "sphere", (MUG_RADIUS,), (0.0, 0.0, z), role="internal")
    for i, z in enumerate((0.02, 0.041, 0.062))
)
MUG_PROXIES = (
    *_MUG,
    *_FEET,
    *_FINGERS,
    Proxy("mug_side", "obj", "sphere", (MUG_RADIUS,), (0.0, 0.0, 0.03), role="internal"),
)
_MACHINE = Proxy("machine", "coffee_machine", "box", (0.1, 0.098, 0.185), (0.0, 0.0, 0.185), role="scenery")
# This is the official fingers' torsional friction. With it ours too keep the mug from turning in their grip.
MUG_PAIRS = (
    *(Pair(foot.name, "table") for foot in _FEET),
    *(
        Pair(finger.name, sphere.name, 4, HAND_FRICTION, MARGIN, torsion=0.1, solimp=(0.995, 0.997, 0.01, 0.5, 2.0))
        for finger in _FINGERS
        for sphere in _MUG
    ),
    Pair("mug_side", "machine", condim=1),
)


class CoffeeScene(SawyerEnv):
    """The mug stands on the table, 15 cm or more from its place in the machine."""

    def place_machine(self, data: mujoco.MjData, pos: np.ndarray) -> None:
        data.mocap_pos[self.mocap_id("coffee_machine")] = pos

    def mug_pose(self, poses: Poses) -> Float[Array, " 7"]:
        return jnp.concatenate([self.body_pos(poses, "obj"), self.geom_quat_xyzw(poses, "mug")])


PUSH_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_coffee.xml",
    placed_bodies=("coffee_machine",),
    proxies=(*MUG_PROXIES, TABLE, _MACHINE),
    extra_pairs=MUG_PAIRS,
    goal_sites=("mug_goal",),
)

_BUTTON = (
    Proxy("button", "cmbutton", "box", (0.028, 0.03, 0.028), (0.0, -0.19, 0.3)),
    Proxy("button_back", "cmbutton", "sphere", (0.02,), (0.0, -0.18, 0.3), role="internal"),
)
_HEAD = (
    Proxy("head", "coffee_machine", "box", (0.1, 0.05, 0.07), (0.0, -0.133, 0.3), role="scenery"),
    # The head stops the upper half of a finger that pushes on beside the button.
    *(
        Proxy(f"{side}_finger_top", f"{side}claw", "sphere", (0.006,), (-0.015, inwards * 0.003, 0.0), role="internal")
        for side, inwards in (("right", 1.0), ("left", -1.0))
    ),
)
BUTTON_SCENE = SceneSpec(
    xml="sawyer_xyz/sawyer_coffee.xml",
    placed_bodies=("coffee_machine",),
    proxies=(*_BUTTON, *_FEET, TABLE, _MACHINE, *_HEAD),
    extra_pairs=(
        *(Pair(foot.name, "table") for foot in _FEET),
        Pair("button_back", "machine", condim=1),
        Pair("right_finger_top", "head", condim=1),
        Pair("left_finger_top", "head", condim=1),
    ),
    goal_sites=(),
)
"""The mug stands on its feet, out of the hand's reach."""
