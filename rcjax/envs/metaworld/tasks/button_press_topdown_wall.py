"""button-press-topdown-wall: reach over a wall and press the button on top of a box.

Source: metaworld 3.0.0, `sawyer_button_press_topdown_wall_v3.py`.
"""

from rcjax.envs.metaworld.scenes.button import TopdownScene, button_scene


class ButtonPressTopdownWall(TopdownScene):
    """A wall stands in front of the box, on its right."""

    task = "button-press-topdown-wall"
    scene = button_scene("press_topdown_wall")
    prompt = "robot reaching over wall and pressing red button from above"
