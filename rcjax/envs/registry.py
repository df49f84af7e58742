"""Environments by name. A task's module is imported when it is first asked for."""

import difflib
import functools
import importlib
import re
from collections.abc import Iterator, Mapping

import gymnax

from rcjax.checks import require_bool, shown
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


VERSIONS = ("2", "3")  # of Metaworld, by their names; the scenes are version 3's

_NAME = re.compile(r"(?P<task>.*?)(-v(?P<version>[0-9]+))?(-goal-(?P<goal>hidden|observable))?", re.DOTALL)


def canonical_name(task: str) -> str:
    """The task's name without Metaworld's version and observability suffixes: "drawer-close-v3" is
    "drawer-close".

    Raises ValueError for a task that is not in `TASKS`, where it names the nearest ones, and for a version that is
    not among `VERSIONS`.
    """
    return _split_name(task)[0]


def choose_goal_hidden(task: str, goal_hidden: bool | None) -> bool:
    """Whether observations hide the goal: what is asked for, or (None) what the name's suffix says, or True.

    The suffixes are Metaworld's: "drawer-close-v3-goal-observable" and "-goal-hidden". Raises ValueError where the two
    contradict each other.
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
    """The task, and whether its suffix hides the goal; None without one."""
    parts = _NAME.fullmatch(str(task).strip().lower().replace("_", "-"))
    assert parts is not None  # the expression matches everything
    name = parts["task"]
    if name not in MT50:
        nearest = ", ".join(repr(near) for near in difflib.get_close_matches(name, MT50, n=3, cutoff=0.0))
        raise ValueError(f"Unknown task {shown(task)}; the nearest are {nearest}. rcjax.envs.TASKS lists all.")
    if parts["version"] not in (None, *VERSIONS):
        raise ValueError(
            f"task {task!r} is of version {parts['version']}; the scenes are those of version 3: say '{name}-v3', or "
            f"{name!r}."
        )
    return name, None if parts["goal"] is None else parts["goal"] == "hidden"


def gymnax_id(task: str) -> str:
    """The id of a task for `gymnax.make`."""
    return f"Metaworld/{task}-v3"


def register_with_gymnax() -> None:
    """Make `gymnax.make("Metaworld/door-open-v3", **options)` build our environments; once is enough.

    Each task has the ids "...-v3-goal-hidden" and "...-v3-goal-observable" too, as in Metaworld.
    """
    for task in MT50:
        for suffix in ("", "-goal-hidden", "-goal-observable"):
            if (name := gymnax_id(task) + suffix) not in gymnax.registered_envs:
                gymnax.register(name, functools.partial(_build, f"{task}-v3{suffix}"))


def _build(name: str, *, goal_hidden: bool | None = None, **options) -> MjxEnv:
    return TASKS[canonical_name(name)](goal_hidden=choose_goal_hidden(name, goal_hidden), **options)
