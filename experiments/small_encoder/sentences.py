"""The sentences that the encoder is trained on: each task in many words, a part of which is held out."""

import zlib
from collections.abc import Mapping, Sequence

from rcjax.envs.registry import KITCHEN, MT50, task_class

HELD_OUT_TASKS = (
    "button-press-topdown-wall", "handle-press-side", "plate-slide-back-side", "push-wall", "reach-wall",
)  # fmt: skip
"""Tasks that the encoder never sees. Each is a variant of one that it is trained on, so that its words are known
(except "around" of push-wall)."""

ALL_TASKS = (*MT50, *KITCHEN)

TRAINED_TASKS = tuple(task for task in ALL_TASKS if task not in HELD_OUT_TASKS)

HELD_OUT_SHARE = 5  # one of so many sentences of a task is never trained on

PHRASES: Mapping[str, Sequence[tuple[Sequence[str], Sequence[str]]]] = {
    "assembly": [(("put", "place"), ("nut on peg", "wrench on peg", "ring onto peg"))],
    "basketball": [
        (("dunk", "put", "drop"), ("basketball into basket", "ball into basket", "basketball through hoop"))
    ],
    "bin-picking": [
        (("move", "carry", "put"), ("green cube to other bin", "cube into other bin", "block to other bin"))
    ],
    "box-close": [(("close", "cover", "shut"), ("box with lid", "wooden box with lid")), (("put",), ("lid on box",))],
    "button-press": [(("press", "push"), ("red button", "button", "red button in", "red button of box"))],
    "button-press-topdown": [
        (("press", "push"), ("red button from above", "button from above", "red button down", "button down"))
    ],
    "button-press-topdown-wall": [
        (("press", "push"), ("red button from above behind wall", "button down behind wall"))
    ],
    "button-press-wall": [
        (("reach over wall and press", "reach over wall and push"), ("red button", "button")),
        (("press", "push"), ("red button behind wall", "button behind wall")),
    ],
    "coffee-button": [(("press", "push"), ("button of coffee machine", "coffee machine button", "coffee button"))],
    "coffee-pull": [(("pull", "move", "drag"), ("mug from coffee machine", "cup from coffee machine", "mug away"))],
    "coffee-push": [
        (("push", "move", "slide"), ("mug to coffee machine", "cup to coffee machine", "mug under machine"))
    ],
    "dial-turn": [(("turn", "rotate", "spin"), ("dial", "knob", "round dial"))],
    "disassemble": [(("lift", "take", "pull"), ("nut off peg", "wrench off peg", "ring off peg"))],
    "door-close": [(("close", "shut", "push shut"), ("black box", "door", "black door", "black box door"))],
    "door-lock": [(("lock",), ("door", "black door", "door with lock")), (("turn",), ("lock to lock door",))],
    "door-open": [(("open", "pull open"), ("door", "black door", "black box", "door by handle"))],
    "door-unlock": [(("unlock",), ("door", "black door", "door with lock")), (("turn",), ("lock to unlock door",))],
    "drawer-close": [(("close", "shut", "push shut"), ("green drawer", "drawer", "open drawer"))],
    "drawer-open": [(("open", "pull open"), ("green drawer", "drawer", "closed drawer"))],
    "faucet-close": [(("close", "turn off", "shut"), ("faucet", "tap", "water faucet"))],
    "faucet-open": [(("open", "turn on"), ("faucet", "tap", "water faucet"))],
    "hammer": [(("hammer", "hit", "drive"), ("nail", "nail with hammer", "nail into wood"))],
    "hand-insert": [(("insert", "put", "place"), ("hand into hole", "gripper into hole", "hand in hole"))],
    "handle-press": [(("press", "push"), ("handle down", "red handle down", "handle downwards"))],
    "handle-press-side": [(("press", "push"), ("handle down from side", "red handle down from side"))],
    "handle-pull": [(("pull", "lift"), ("handle up", "red handle up", "handle upwards"))],
    "handle-pull-side": [
        (("pull", "lift"), ("handle up from side", "red handle up from side", "handle upwards from side"))
    ],
    "lever-pull": [(("pull", "lift", "raise"), ("lever up", "lever", "red lever up"))],
    "peg-insert-side": [(("insert", "put", "push"), ("green peg into hole", "peg into hole", "peg into hole of box"))],
    "peg-unplug-side": [(("unplug",), ("peg", "peg from box")), (("pull",), ("peg out of box", "plug out of box"))],
    "pick-out-of-hole": [
        (("pick", "lift", "take"), ("red puck out of hole", "puck out of hole", "red block out of hole"))
    ],
    "pick-place": [(("pick up", "lift", "grasp"), ("puck", "red puck", "puck to goal"))],
    "pick-place-wall": [(("pick up", "lift"), ("puck and lift it over wall", "puck over wall", "red puck over wall"))],
    "plate-slide": [(("slide", "push"), ("plate into cabinet", "plate into goal", "red plate into cabinet"))],
    "plate-slide-back": [
        (("slide", "pull"), ("plate out of cabinet", "plate out of goal", "red plate out of cabinet"))
    ],
    "plate-slide-back-side": [
        (("slide", "pull"), ("plate sideways out of cabinet", "red plate sideways out of cabinet"))
    ],
    "plate-slide-side": [(("slide", "push"), ("plate sideways into cabinet", "plate sideways into goal"))],
    "push": [(("push", "slide", "move"), ("puck to goal", "red puck to goal", "puck across table"))],
    "push-back": [(("pull", "drag"), ("cube back to goal", "block back to goal", "wooden cube backwards"))],
    "push-wall": [(("push", "slide", "move"), ("puck around wall", "red puck around wall"))],
    "reach": [(("reach for",), ("point", "goal", "target")), (("move",), ("hand to point", "gripper to goal"))],
    "reach-wall": [(("reach for",), ("point behind wall", "goal behind wall"))],
    "shelf-place": [(("place", "put", "lift"), ("blue block on shelf", "block on shelf", "blue cube onto shelf"))],
    "soccer": [(("push", "kick", "roll"), ("ball into goal", "soccer ball into goal", "football into goal"))],
    "stick-pull": [(("pull", "drag"), ("thermos with stick", "bottle with stick", "thermos by handle with stick"))],
    "stick-push": [(("push", "move"), ("thermos with stick", "bottle with stick", "thermos away with stick"))],
    "sweep": [(("sweep", "push"), ("cube to right", "block to right", "wooden cube off table"))],
    "sweep-into": [(("sweep", "push"), ("cube into hole", "block into hole", "wooden cube into hole"))],
    "window-close": [(("close", "shut", "slide shut"), ("window", "glass window", "window by handle"))],
    "window-open": [(("open", "slide open"), ("window", "glass window", "window by handle"))],
    "kitchen-kettle": [(("move", "push", "slide"), ("kettle", "kettle to back", "kettle on stove"))],
    "kitchen-hinge": [(("open", "pull open"), ("hinge cabinet", "hinged cabinet", "right cabinet", "blue cabinet"))],
    "kitchen-slide": [(("open", "slide open"), ("sliding door", "slide cabinet", "sliding cabinet"))],
    "kitchen-microwave": [(("open", "pull open"), ("microwave", "microwave oven", "black microwave"))],
    "kitchen-light": [(("switch on", "turn on"), ("light", "lamp", "kitchen light")), (("turn",), ("light switch",))],
    "kitchen-bottom-burner": [
        (("turn", "rotate"), ("knob of bottom burner", "bottom burner knob", "lower knob")),
        (("switch on", "turn on"), ("bottom burner", "lower burner")),
    ],
    "kitchen-top-burner": [
        (("turn", "rotate"), ("knob of top burner", "top burner knob", "upper knob")),
        (("switch on", "turn on"), ("top burner", "upper burner")),
    ],
}  # fmt: skip
"""What a sentence of each task may say: for each pair, any of the verbs with any of the objects"""

IRREGULAR = {  # verbs whose forms follow no rule of `_participle`
    "put": "putting", "dunk": "dunking", "drop": "dropping", "spin": "spinning", "shut": "shutting", "hit": "hitting",
    "drag": "dragging", "unplug": "unplugging", "hammer": "hammering", "cover": "covering", "open": "opening",
}  # fmt: skip
TEMPLATES = ("robot {ing}", "{ing}", "{base}", "the robot {s}", "a robot arm {ing}", "robot {ing} the", "{base} the")
"""How a sentence begins; the object follows"""


def all_sentences(task: str) -> list[str]:
    """Returns every sentence of the task in a fixed order. The first one is the task's prompt."""
    sentences = [task_class(task).prompt]
    for verbs, objects in PHRASES[task]:
        for template in TEMPLATES:
            for verb in verbs:
                start = template.format(ing=_participle(verb), base=verb, s=_third_person(verb))
                sentences += [f"{start} {what}" for what in objects]
    return list(dict.fromkeys(sentences))


def split_sentences(task: str) -> tuple[list[str], list[str]]:
    """Returns the task's sentences to train on, and those that are held out. The prompt is trained on."""
    prompt, *others = all_sentences(task)
    held_out = [text for text in others if zlib.crc32(text.encode()) % HELD_OUT_SHARE == 0]
    return [prompt, *(text for text in others if text not in held_out)], held_out


def _participle(verb: str) -> str:
    """Returns the -ing form of a verb, of which other words may follow: "pushing shut" of "push shut"."""
    first, *rest = verb.split()
    form = IRREGULAR.get(first) or (first[:-1] if first.endswith("e") else first) + "ing"
    if "and" in rest:  # "reaching over wall and pressing"
        at = rest.index("and") + 1
        rest = [*rest[:at], _participle(rest[at]), *rest[at + 1 :]]
    return " ".join([form, *rest])


def _third_person(verb: str) -> str:
    """Returns the form after "the robot": "pushes shut" of "push shut"."""
    first, *rest = verb.split()
    form = first + ("es" if first.endswith(("s", "sh", "ch", "x")) else "s")
    if first.endswith("y"):
        form = first[:-1] + "ies"
    if "and" in rest:
        at = rest.index("and") + 1
        rest = [*rest[:at], _third_person(rest[at]), *rest[at + 1 :]]
    return " ".join([form, *rest])
