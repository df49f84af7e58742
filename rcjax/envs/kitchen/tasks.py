"""The tasks, one for each element of the kitchen. Kettle, hinge and slide are those of RoboCLIP's experiments."""

from rcjax.envs.kitchen.env import KitchenEnv


class Kettle(KitchenEnv):
    task, element, part, handle = "kitchen-kettle", "kettle", "kettle", "kettle"
    prompt = "robot moving kettle"


class Hinge(KitchenEnv):
    task, element, part, handle = "kitchen-hinge", "hinge cabinet", "hinge", "right handle"
    prompt = "robot opening hinge cabinet"


class Slide(KitchenEnv):
    task, element, part, handle = "kitchen-slide", "slide cabinet", "slide", "slide handle"
    prompt = "robot opening sliding door"  # the release's


class Microwave(KitchenEnv):
    task, element, part, handle = "kitchen-microwave", "microwave", "microwave", "microwave handle"
    prompt = "robot opening microwave"


class Light(KitchenEnv):
    task, element, part, handle = "kitchen-light", "light switch", "light", "switch"
    prompt = "robot switching on light"


class BottomBurner(KitchenEnv):
    task, element, part, handle = "kitchen-bottom-burner", "bottom burner", "burner", "knob 2"
    prompt = "robot turning knob of bottom burner"


class TopBurner(KitchenEnv):
    task, element, part, handle = "kitchen-top-burner", "top burner", "burner", "knob 4"
    prompt = "robot turning knob of top burner"


KITCHEN_TASKS = {each.task: each for each in (Kettle, Hinge, Slide, Microwave, Light, BottomBurner, TopBurner)}
