"""handle-press-side: press down a handle that points to the side.

Source: metaworld 3.0.0, `sawyer_handle_press_side_v3.py`.
"""

from rcjax.envs.metaworld.scenes.handle import SIDE_SCENE, PressScene


class HandlePressSide(PressScene):
    """The box stands on the left; its handle points to the right."""

    task = "handle-press-side"
    scene = SIDE_SCENE
    random_low = (-0.35, 0.65, -0.001)
    random_high = (-0.25, 0.75, 0.001)
    prompt = "robot pressing handle down from the side"
