"""Scripted experts of the Kitchen, without any data set: the arm's end goes through waypoints.

Those of kettle, slide and (with the joints' velocities) hinge were written by hand. All others were found by a search
in C MuJoCo, `python -m experiments.kitchen_experts`, which wrote them to found.json.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float

from rcjax.envs.kitchen.options import Control
from rcjax.envs.kitchen.waypoints import Script, Waypoint, follow
from rcjax.envs.mjx_env import NoExpertError, Policy

FOUND = Path(__file__).with_name("found.json")
"""Waypoints by task and controls: position, the three numbers of `found_script`, and control steps"""


def _kettle() -> Script:
    """From the kettle's front forwards, with closed fingers against its body."""
    pushes = [Waypoint((-0.26, 0.273, 1.77), 0.03, 40), Waypoint((-0.25, 0.447, 1.77), 0.03, 40),
              Waypoint((-0.24, 0.62, 1.77), 0.03, 40)]  # fmt: skip
    return Script((Waypoint((-0.42, 0.10, 1.95), 0.03, 15), Waypoint((-0.27, 0.10, 1.77), 0.03, 30), *pushes), gain=5.0)


def _slide() -> Script:
    """To the left of the handle, and then to the right."""
    ways = [
        ((-0.30, 0.25, 2.35), 0.05, 20), ((-0.22, 0.50, 2.60), 0.03, 25), ((-0.20, 0.62, 2.62), 0.03, 20),
        ((0.36, 0.60, 2.62), 0.03, 60),
    ]  # fmt: skip
    return Script(tuple(Waypoint(*way) for way in ways))


AXIS = np.array([-0.224, 0.71, 2.6])  # the right door's hinge
HANDLE = np.array([-0.302, -0.128, 0.0])  # its handle, from there
BELOW = np.array([0.0, 0.0, -0.08])  # where the handle is gripped
AHEAD = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])  # the hand points at the door
YAW_SHARE = 0.4  # of the door's angle


def _hinge() -> Script:
    """Grips the handle and follows its arc, turning less than the door does."""

    def about_z(angle: float) -> Float[np.ndarray, "3 3"]:
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def waypoint(pos: Float[np.ndarray, " 3"], tolerance: float, patience: int, yaw: float, grip: float) -> Waypoint:
        x, y, z = (pos + BELOW).tolist()
        return Waypoint((x, y, z), tolerance, patience, about_z(yaw) @ AHEAD, grip)

    handle = AXIS + HANDLE
    approach = [
        waypoint(handle + np.array([0.0, -0.222, -0.2]), 0.05, 18, 0.0, 1.0),
        waypoint(handle + np.array([0.0, -0.142, 0.0]), 0.02, 25, 0.0, 1.0),
        waypoint(handle, 0.012, 20, 0.0, 1.0),
        waypoint(handle, 0.0, 5, 0.0, -1.0),
    ]
    arc = [
        waypoint(AXIS + about_z(angle) @ HANDLE, 0.02, 7, YAW_SHARE * angle, -1.0)
        for angle in np.linspace(0.15, 1.5, 8)
    ]
    return Script((*approach, *arc))


def found_script(rows: Sequence[Sequence[float]], control: Control) -> Script:
    """Returns the script with these waypoints, whose times are fixed and in which the fingers are closed.

    Args:
        rows: for each waypoint its position in metres, three numbers, and its number of control steps. The three are,
            with "ee", the part of the action that turns the arm's end; with "joint", a rotation vector in radians from
            the orientation in which the end points ahead.
        control: the controls.
    """
    waypoints = []
    for x, y, z, *rotation, steps in rows:
        if control == "ee":
            a, b, c = rotation
            waypoints.append(Waypoint((x, y, z), 0.0, int(steps), spin=(a, b, c)))
        else:
            waypoints.append(Waypoint((x, y, z), 0.0, int(steps), turn=_rotation(np.array(rotation)) @ AHEAD))
    return Script(tuple(waypoints))


def _rotation(vector: Float[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation by the vector's length in radians about its direction."""
    quat, matrix, angle = np.zeros(4), np.zeros(9), float(np.linalg.norm(vector))
    mujoco.mju_axisAngle2Quat(quat, vector / max(angle, 1e-12), angle)
    mujoco.mju_quat2Mat(matrix, quat)
    return matrix.reshape(3, 3)


WRITTEN: dict[tuple[str, Control], Callable[[], Script]] = {
    ("kitchen-kettle", "joint"): _kettle, ("kitchen-slide", "joint"): _slide, ("kitchen-hinge", "joint"): _hinge,
    ("kitchen-kettle", "ee"): _kettle, ("kitchen-slide", "ee"): _slide,
}  # fmt: skip
"""The scripts that were written by hand. With "ee" one finger alone opens, so that no handle is gripped."""


def expert_script(task: str, control: Control) -> Script:
    """Returns the script that solves a task with these controls, or raises NoExpertError."""
    if (task, control) in WRITTEN:
        return WRITTEN[task, control]()
    if task not in solved_tasks(control):
        others = ", ".join(solved_tasks(control))
        raise NoExpertError(
            f"{task} has no expert with control={control!r}, which {others} have. Use a video of your own."
        )
    return found_script(_found()[task][control], control)


def solved_tasks(control: Control) -> list[str]:
    """Returns the tasks that have an expert with these controls."""
    found = {task for task, scripts in _found().items() if control in scripts}
    return sorted(found | {task for task, of in WRITTEN if of == control})


def script_digest(task: str, control: Control) -> str:
    """Returns a digest of the script that solves a task with these controls, or "none"."""
    try:
        script = expert_script(task, control)
    except NoExpertError:
        return "none"
    return hashlib.sha256(repr(script).encode()).hexdigest()[:16]


@functools.cache
def _found() -> dict[str, dict[Control, list[list[float]]]]:
    return json.loads(FOUND.read_text())


def kitchen_expert(task: str, control: Control) -> Policy:
    """Returns the scripted policy of a task, from observations [N O] of as many episodes to actions [N A].

    It keeps how far each episode has come, so each batch of episodes needs a new one. Raises NoExpertError for a
    task without a script for these controls.
    """
    return follow([expert_script(task, control)], control)
