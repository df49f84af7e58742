"""Environments by name. The module of a task is imported on first use."""

import difflib
import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import gymnax

from rcjax.checks import require_bool, short_repr
from rcjax.envs.kitchen.tasks import KITCHEN_TASKS
from rcjax.envs.metaworld.sawyer import SawyerEnv
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
"""Metaworld's fifty tasks (MT50)"""

PAPER_TASKS = (
    "door-close", "door-open", "drawer-open", "drawer-close", "button-press", "coffee-push", "faucet-open",
)  # fmt: skip
"""The tasks of RoboCLIP's experiments (arXiv:2310.07899)"""


KITCHEN = tuple(KITCHEN_TASKS)
"""The tasks of Franka Kitchen; the first three are those of RoboCLIP's experiments"""


class TaskTable(Mapping[str, type[SawyerEnv]]):
    """Maps names of Metaworld's tasks to environment classes: "door-open" to `DoorOpen` in
    `metaworld/tasks/door_open.py`."""

    def __getitem__(self, name: str) -> type[SawyerEnv]:
        if name not in MT50:
            raise KeyError(name)
        module = importlib.import_module(f"rcjax.envs.metaworld.tasks.{name.replace('-', '_')}")
        return getattr(module, "".join(part.capitalize() for part in name.split("-")))

    def __iter__(self) -> Iterator[str]:
        return iter(MT50)

    def __len__(self) -> int:
        return len(MT50)


TASKS = TaskTable()


def task_class(name: str) -> type[MjxEnv]:
    """Returns the environment class of a task of Metaworld or of the Kitchen, by its canonical name."""
    return KITCHEN_TASKS[name] if name in KITCHEN else TASKS[name]


VERSIONS = ("2", "3")  # versions of Metaworld that may follow a task's name; all scenes are of version 3

_NAME = re.compile(r"(?P<task>.*?)(-v(?P<version>[0-9]+))?(-goal-(?P<goal>hidden|observable))?", re.DOTALL)


def canonical_name(task: str) -> str:
    """Returns the task's name without Metaworld's suffixes for version and goal: "drawer-close" of "drawer-close-v3".

    Raises ValueError for a task that is neither in `TASKS` nor in `KITCHEN`, naming the nearest ones, and for a version
    that is not in `VERSIONS`.
    """
    return _split_name(task)[0]


def choose_goal_hidden(task: str, goal_hidden: bool | None) -> bool:
    """Returns whether observations hide the goal: `goal_hidden` or, if that is None, what the name's suffix says.

    Without a suffix the goal is hidden. The suffixes are Metaworld's: "drawer-close-v3-goal-observable" and
    "-goal-hidden".

    Raises ValueError if the suffix contradicts `goal_hidden`.
    """
    by_name = _split_name(task)[1]
    if goal_hidden is None:
        return by_name is not False
    require_bool("goal_hidden", goal_hidden)
    if by_name not in (None, goal_hidden):
        raise ValueError(
            f"the task {task!r} and goal_hidden={goal_hidden} contradict each other; leave one of them out."
        )
    return goal_hidden


def _split_name(task: str) -> tuple[str, bool | None]:
    """Returns the task, and whether its suffix hides the goal; None without such a suffix."""
    parts = _NAME.fullmatch(str(task).strip().lower().replace("_", "-"))
    assert parts is not None  # the expression matches everything
    name = parts["task"]
    if name not in (*MT50, *KITCHEN):
        nearest = ", ".join(repr(near) for near in difflib.get_close_matches(name, (*MT50, *KITCHEN), n=3, cutoff=0.0))
        raise ValueError(
            f"Unknown task {short_repr(task)}; the nearest are {nearest}. rcjax.envs.TASKS and KITCHEN list all."
        )
    if name in KITCHEN and (parts["version"] or parts["goal"]):
        raise ValueError(f"task {task!r} has a suffix of Metaworld's tasks; use {name!r}.")
    if parts["version"] not in (None, *VERSIONS):
        raise ValueError(
            f"task {task!r} is of version {parts['version']}; the scenes are those of version 3: use '{name}-v3' or "
            f"{name!r}."
        )
    return name, None if parts["goal"] is None else parts["goal"] == "hidden"


def gymnax_id(task: str) -> str:
    """Returns the id under which `gymnax.make` knows the task."""
    return f"Metaworld/{task}-v3"


def register_with_gymnax() -> None:
    """Registers our environments: `gymnax.make("Metaworld/door-open-v3", **options)` and "FrankaKitchen/kettle-v1".

    Each task of Metaworld also has the ids "...-v3-goal-hidden" and "...-v3-goal-observable", as in Metaworld. Further
    calls have no effect.
    """
    for name in KITCHEN:
        if kitchen_id(name) not in gymnax.registered_envs:
            gymnax.register(kitchen_id(name), functools.partial(_build_kitchen, name))
    for task in MT50:
        for suffix in ("", "-goal-hidden", "-goal-observable"):
            if (name := gymnax_id(task) + suffix) not in gymnax.registered_envs:
                gymnax.register(name, functools.partial(_build, f"{task}-v3{suffix}"))


def kitchen_id(task: str) -> str:
    """Returns the id under which `gymnax.make` knows a task of the Kitchen."""
    return f"FrankaKitchen/{task.removeprefix('kitchen-')}-v1"


def _build_kitchen(name: str, **options: Any) -> MjxEnv:
    return task_class(name)(**options)


def _build(name: str, *, goal_hidden: bool | None = None, **options: Any) -> SawyerEnv:
    return TASKS[canonical_name(name)](goal_hidden=choose_goal_hidden(name, goal_hidden), **options)
