"""Scripted experts of the Kitchen, without any data set: the arm's end goes through waypoints.

With `control="joint"`, damped least squares turn the way to the next waypoint into velocities of the joints, on the
host with C MuJoCo. With "ee" the way itself is the action.
"""

import dataclasses
from collections.abc import Callable

import mujoco
import numpy as np
from jaxtyping import Float

from rcjax.envs.kitchen.elements import INIT_QPOS, N_ROBOT
from rcjax.envs.kitchen.scene import MAX_VELOCITY, build_model
from rcjax.envs.mjx_env import NoExpertError, Policy

SITE = "end_effector"
N_ARM = 7
FAR = 0.12  # metres: a way that is longer counts as this long
DAMPING = 1e-3
POSTURE_GAIN = 0.5  # 1/s, towards the middle of the joints' ranges, as far as it does not move the end
TURN_WEIGHT = 0.1  # of an error in radians, beside metres
NEAR = 0.15  # metres: closer than that, errors are summed up against the arm's sag
INTEGRAL_GAIN = 0.25
MAX_INTEGRAL = 0.12  # metres, for each axis
EE_GAIN = 12.0  # 1/m


@dataclasses.dataclass(frozen=True)
class Waypoint:
    """Where the arm's end goes, in metres.

    It is passed when the end is within `tolerance` of it, or after `patience` control steps. `turn` is the end's
    orientation as a rotation matrix; None leaves it free. The fingers are driven by `grip`: 1 opens them, -1 closes.
    """

    pos: tuple[float, float, float]
    tolerance: float
    patience: int
    turn: Float[np.ndarray, "3 3"] | None = None
    grip: float = -1.0


@dataclasses.dataclass(frozen=True)
class Script:
    """The waypoints of a task, and how fast they are approached (1/s)."""

    waypoints: tuple[Waypoint, ...]
    gain: float = 8.0


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


SCRIPTS: dict[str, Callable[[], Script]] = {
    "kitchen-kettle": _kettle, "kitchen-slide": _slide, "kitchen-hinge": _hinge,
}  # fmt: skip
EE_TASKS = ("kitchen-kettle", "kitchen-slide")
"""Tasks that the script solves with `control="ee"`, too; one finger alone opens there, so that no handle is gripped"""


def kitchen_expert(task: str, control: str) -> Policy:
    """Returns the scripted policy of a task, from observations [N O] of as many episodes to actions [N A].

    It keeps how far each episode has come, so each batch of episodes needs a new one. Raises NoExpertError for a
    task without a script for these controls.
    """
    if task not in (EE_TASKS if control == "ee" else SCRIPTS):
        raise NoExpertError(
            f"{task} has no expert with control={control!r}; with 'ee' there are those of {', '.join(EE_TASKS)}, with "
            f"'joint' of {', '.join(SCRIPTS)}. Use a video of your own."
        )
    script, arm, episodes = SCRIPTS[task](), _Arm(task.removeprefix("kitchen-")), []

    def act(obs: np.ndarray) -> np.ndarray:
        if not episodes:
            episodes.extend(_Episode(script, arm, control) for _ in obs)
        return np.stack([episode.act(row) for episode, row in zip(episodes, obs, strict=True)])

    return act


class _Arm:
    """Kinematics of the arm, in C MuJoCo."""

    def __init__(self, part: str):
        self.model = build_model(part, "joint")
        self.data = mujoco.MjData(self.model)
        self.site = self.model.site(SITE).id
        self.middle = self.model.jnt_range[:N_ARM].mean(1)

    def move(self, qpos: Float[np.ndarray, " 30"]) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, "3 3"]]:
        """Returns position and orientation of the arm's end."""
        self.data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        return self.data.site_xpos[self.site].copy(), self.data.site_xmat[self.site].reshape(3, 3).copy()

    def velocities(
        self, way: Float[np.ndarray, " 3"], turn: Float[np.ndarray, " 3"] | None, gain: float
    ) -> Float[np.ndarray, " 7"]:
        """Returns velocities of the joints, in radians per second, for a way in metres and a turn in radians."""
        linear, angular = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        mujoco.mj_jacSite(self.model, self.data, linear, angular, self.site)
        jacobian, error = linear[:, :N_ARM], gain * way
        if turn is not None:
            jacobian = np.vstack([jacobian, TURN_WEIGHT * angular[:, :N_ARM]])
            error = np.concatenate([error, TURN_WEIGHT * gain * turn])
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING * np.eye(len(error)))
        posture = POSTURE_GAIN * (self.middle - self.data.qpos[:N_ARM])
        return inverse @ error + posture - inverse @ (jacobian @ posture)


class _Episode:
    """How far an episode has come in its script."""

    def __init__(self, script: Script, arm: _Arm, control: str):
        self.script, self.arm, self.control = script, arm, control
        self.index, self.steps, self.integral = 0, 0, np.zeros(3)

    def act(self, obs: Float[np.ndarray, " O"]) -> Float[np.ndarray, " A"]:
        pos, orientation = self.arm.move(self._qpos(obs))
        if self.steps:
            self._pass(pos)
        waypoint = self.script.waypoints[self.index]
        way = np.array(waypoint.pos) - pos
        self.steps += 1
        if self.control == "ee":
            return np.concatenate([np.clip(EE_GAIN * way, -1, 1), np.zeros(3), [waypoint.grip]])
        if np.linalg.norm(way) < NEAR:
            self.integral = np.clip(self.integral + INTEGRAL_GAIN * way, -MAX_INTEGRAL, MAX_INTEGRAL)
        way = way + self.integral
        way *= min(1.0, FAR / max(float(np.linalg.norm(way)), 1e-9))
        turn = None if waypoint.turn is None else _turn(orientation, waypoint.turn)
        action = self.arm.velocities(way, turn, self.script.gain) / MAX_VELOCITY
        return np.concatenate([action / max(1.0, float(np.abs(action).max())), [waypoint.grip] * 2])

    def _pass(self, pos: Float[np.ndarray, " 3"]) -> None:
        """Goes on to the next waypoint if this one is reached, or has not been for too long."""
        waypoint = self.script.waypoints[self.index]
        reached = np.linalg.norm(np.array(waypoint.pos) - pos) < waypoint.tolerance
        if (reached or self.steps >= waypoint.patience) and self.index < len(self.script.waypoints) - 1:
            self.index, self.steps = self.index + 1, 0

    def _qpos(self, obs: Float[np.ndarray, " O"]) -> Float[np.ndarray, " 30"]:
        if self.control == "ee":
            return obs[: len(INIT_QPOS)]
        return np.concatenate([obs[:N_ROBOT], obs[2 * N_ROBOT : N_ROBOT + len(INIT_QPOS)]])


def _turn(now: Float[np.ndarray, "3 3"], goal: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 3"]:
    """Returns the rotation vector, for small angles, from one orientation to another."""
    return 0.5 * np.cross(now, goal, axis=0).sum(1)
