"""The tasks, one for each element of the kitchen. Kettle, hinge and slide are those of RoboCLIP's experiments."""

from rcjax.envs.kitchen.env import KitchenEnv


class Kettle(KitchenEnv):
    task, element, part = "kitchen-kettle", "kettle", "kettle"
    prompt = "robot moving kettle"


class Hinge(KitchenEnv):
    task, element, part = "kitchen-hinge", "hinge cabinet", "hinge"
    prompt = "robot opening hinge cabinet"


class Slide(KitchenEnv):
    task, element, part = "kitchen-slide", "slide cabinet", "slide"
    prompt = "robot opening sliding door"  # the release's


class Microwave(KitchenEnv):
    task, element, part = "kitchen-microwave", "microwave", "microwave"
    prompt = "robot opening microwave"


class Light(KitchenEnv):
    task, element, part = "kitchen-light", "light switch", "light"
    prompt = "robot switching on light"


class BottomBurner(KitchenEnv):
    task, element, part = "kitchen-bottom-burner", "bottom burner", "burner"
    prompt = "robot turning knob of bottom burner"


class TopBurner(KitchenEnv):
    task, element, part = "kitchen-top-burner", "top burner", "burner"
    prompt = "robot turning knob of top burner"


KITCHEN_TASKS = {each.task: each for each in (Kettle, Hinge, Slide, Microwave, Light, BottomBurner, TopBurner)}
