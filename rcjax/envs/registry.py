"""Environments by name. A task's module is imported when it is first asked for."""

import difflib
import functools
import importlib
import re
from collections.abc import Iterator, Mapping

import gymnax

from rcjax.envs.mjx_env import MjxEnv

MT50 = (
    "assembly", "basketball", "bin-picking", "box-close", "button-press", "button-press-topdown",
    "button-press-topdown-wall", "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn",
    "disassemble", "door-close", "door-lock", "door-open", "door-unlock", "drawer-close", "drawer-open",
    "faucet-close", "faucet-open", "hammer", "hand-insert", "handle-press", "handle-press-side", "handle-pull",
    "handle-pull-side", "lever-pull", "peg-insert-side", "peg-unplug-side", "pick-out-of-hole", "pick-place",
    "pick-place-wall", "plate-slide", "plate-slide-back", "plate-slide-back-side", "plate-slide-side", "push",
    "push-back", "push-wall", "reach", "reach-wall", "shelf-place", "soccer", "stick-pull", "stick-push", "sweep",
    "sweep-into", "window-close", "window-open",
)  # fmt: skip
"""Metaworld's fifty tasks"""

PAPER_TASKS = (
    "door-close", "door-open", "drawer-open", "drawer-close", "button-press", "coffee-push", "faucet-open",
)  # fmt: skip
"""Those of RoboCLIP's experiments (arXiv:2310.07899)"""


class TaskTable(Mapping[str, type[MjxEnv]]):
    """Name -> environment class. The task "door-open" is `DoorOpen` in `metaworld/tasks/door_open.py`."""

    def __getitem__(self, name: str) -> type[MjxEnv]:
        if name not in MT50:
            raise KeyError(name)
        module = importlib.import_module(f"rcjax.envs.metaworld.tasks.{name.replace('-', '_')}")
        return getattr(module, "".join(part.capitalize() for part in name.split("-")))

    def __iter__(self) -> Iterator[str]:
        return iter(MT50)

    def __len__(self) -> int:
        return len(MT50)


TASKS = TaskTable()


def canonical_name(task: str) -> str:
    """The task's name without Metaworld's version and observability suffixes: "drawer-close-v3" is
    "drawer-close".

    Raises ValueError for a task that is not in `TASKS`; it names the nearest ones.
    """
    name = re.sub(r"-v[0-9]+(-goal-(hidden|observable))?$", "", str(task).strip().lower().replace("_", "-"))
    if name in MT50:
        return name
    nearest = ", ".join(repr(near) for near in difflib.get_close_matches(name, MT50, n=3, cutoff=0.0))
    raise ValueError(f"Unknown task {task!r}; the nearest are {nearest}. rcjax.envs.TASKS lists all.")


def gymnax_id(task: str) -> str:
    """The id of a task for `gymnax.make`."""
    return f"Metaworld/{task}-v3"


def register_with_gymnax() -> None:
    """Make `gymnax.make("Metaworld/door-open-v3", **options)` build our environments; once is enough."""
    for task in MT50:
        if gymnax_id(task) not in gymnax.registered_envs:
            gymnax.register(gymnax_id(task), functools.partial(_build, task))


def _build(task: str, **options) -> MjxEnv:
    return TASKS[task](**options)
