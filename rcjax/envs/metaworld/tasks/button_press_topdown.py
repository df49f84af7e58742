"""button-press-topdown: press the button on top of a box.

Source: metaworld 3.0.0, `sawyer_button_press_topdown_v3.py`.
"""

from rcjax.envs.metaworld.scenes.button import TopdownScene, button_scene


class ButtonPressTopdown(TopdownScene):
    """Nothing stands in front of the box."""

    task = "button-press-topdown"
    scene = button_scene("press_topdown")
    prompt = "robot pressing red button from above"
