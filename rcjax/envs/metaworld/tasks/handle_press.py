"""handle-press: press a handle down.

Source: metaworld 3.0.0, `sawyer_handle_press_v3.py`.
"""

from rcjax.envs.metaworld.scenes.handle import FRONT_SCENE, PressScene


class HandlePress(PressScene):
    """The handle points to the robot."""

    task = "handle-press"
    scene = FRONT_SCENE
    goal_low = (-0.1, 0.55, 0.04)
    goal_high = (0.1, 0.70, 0.08)
    random_low = (-0.1, 0.8, -0.001)
    random_high = (0.1, 0.9, 0.001)
    prompt = "robot pressing handle down"
