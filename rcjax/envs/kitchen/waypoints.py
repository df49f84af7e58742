"""How the arm's end follows waypoints in the Kitchen, on the host.

With `control="joint"`, damped least squares turn the way to the next waypoint into velocities of the joints, by C
MuJoCo. With "ee" the way itself is the action.
"""

import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float

from rcjax.envs.kitchen.elements import INIT_QPOS, N_ROBOT
from rcjax.envs.kitchen.options import Control
from rcjax.envs.kitchen.scene import MAX_VELOCITY, build_model
from rcjax.envs.mjx_env import Policy

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

    It is passed when the end is within `tolerance` of it, or after `patience` control steps. The fingers are driven by
    `grip`: 1 opens them, -1 closes. With "joint", `turn` is the end's orientation as a rotation matrix, and None leaves
    it free. With "ee", `spin` is the part of the action that turns the end; it is weak against the arm's servos.
    """

    pos: tuple[float, float, float]
    tolerance: float
    patience: int
    turn: Float[np.ndarray, "3 3"] | None = None
    grip: float = -1.0
    spin: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Script:
    """The waypoints of a task, and how fast they are approached (1/s)."""

    waypoints: tuple[Waypoint, ...]
    gain: float = 8.0


def follow(scripts: Sequence[Script], control: Control) -> Policy:
    """Returns the policy, from observations [N O] of N episodes to actions [N A], that follows the N scripts.

    A single script is followed in all episodes. The policy keeps how far each episode has come, so each batch of
    episodes needs a new one.
    """
    arm, episodes = _Arm(), []

    def act(obs: np.ndarray) -> np.ndarray:
        if not episodes:
            of_each = list(scripts) * len(obs) if len(scripts) == 1 else scripts
            episodes.extend(_Episode(script, arm, control) for script in of_each)
        return np.stack([episode.act(row) for episode, row in zip(episodes, obs, strict=True)])

    return act


class _Arm:
    """Kinematics of the arm, in C MuJoCo."""

    def __init__(self):
        self.model = build_model("kettle", "joint")  # the arm is the same in all scenes
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

    def __init__(self, script: Script, arm: _Arm, control: Control):
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
            return np.concatenate([np.clip(EE_GAIN * way, -1, 1), waypoint.spin, [waypoint.grip]])
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
