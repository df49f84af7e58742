"""Franka Kitchen as gymnax environments on MJX: control by the arm's end or by its joints, and one task each.

Every reset is the same, without the official observation noise, as in RoboCLIP's release: what differs between episodes
are the policy's actions. Only the time limit ends an episode.

Sources: gymnasium-robotics 1.4.2 (`control="joint"`), and the `kitchen_alt` of RoboCLIP's release (`control="ee"`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnax.environments import spaces
from jax import Array
from jaxtyping import Bool, Float

from rcjax.checks import require_one_of
from rcjax.envs import mjx_env
from rcjax.envs.kitchen.elements import DONE_DISTANCE, ELEMENTS, INIT_QPOS, N_ROBOT, RELEASE_ELEMENTS
from rcjax.envs.kitchen.experts import kitchen_expert, script_digest
from rcjax.envs.kitchen.options import CONTROLS, GOALS, REWARDS, Control, Goal, RewardKind
from rcjax.envs.kitchen.rotations import euler_of, quat_of
from rcjax.envs.kitchen.scene import (
    CAMERA,
    END_BODY,
    FRAME_SKIP,
    MAX_VELOCITY,
    MOCAP,
    TIMESTEP,
    TIPS,
    WELD_STIFFNESS,
    build_model,
)
from rcjax.envs.mjx_env import EnvParams, EnvState
from rcjax.envs.physics import Lead, PhysicsState, Poses
from rcjax.envs.scenes import PROXY_PREFIX
from rcjax.envs.seeds import checked_seeds
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses

# Joints: limits of the position targets in radians (fingers: metres).
TARGET_LOW = np.array([-2.9, -1.8, -2.9, -3.1, -2.9, 0.0, -2.9, 0.0, 0.0])
TARGET_HIGH = np.array([2.9, 1.8, 2.9, 0.0, 2.9, 3.8, 2.9, 0.04, 0.04])
# The arm's end: it is led by 5 cm at full action, and turned by 5 % of the way in each physics step.
LEAD_DISTANCE = 0.05
LEAD_SHARE = 0.05


def joint_targets(position: Float[Array, "*batch 9"], action: Float[Array, "*batch 9"]) -> Float[Array, "*batch 9"]:
    """Returns targets of the joints' positions: where they would be after the step at the asked velocities."""
    return jnp.clip(position + MAX_VELOCITY * action * (FRAME_SKIP * TIMESTEP), TARGET_LOW, TARGET_HIGH)


class KitchenState(PyTree):
    """Which elements are done, [K]: after the last step, and before it."""

    done: Bool[Array, "*batch K"]
    done_before: Bool[Array, "*batch K"]


class KitchenEnv(mjx_env.MjxEnv):
    """Base class of the Kitchen's tasks, which set the attributes below.

    Actions are from -1 to 1: with `control="ee"` 7 numbers, a direction for the arm's end, changes of its z-y-z Euler
    angles in radians, and the fingers' opening; with "joint" 9, the velocities of arm and fingers.

    Observations are positions of robot [9] and objects [21], and the goal's positions [30], which are 0 where the goal
    says nothing; or, with "joint", positions and velocities of robot [9, 9] and objects [21, 20].

    A step's `info` has "success", whether the task's element is within `DONE_DISTANCE` of its goal, and its "distance".
    The reward is that of the goal's elements: "dense" is minus the sum of the distances of those that were not done
    before the step (the release's), and "sparse" the number of those that it did for the first time (the official one).
    """

    task: str
    element: str  # a key of ELEMENTS
    part: str  # a key of scene.DETAILS
    handle: str  # the proxy by which the hand moves the element
    package = "gymnasium-robotics"
    frame_skip = FRAME_SKIP
    camera = CAMERA
    view = 480  # the release draws a square
    backdrop_lighting = "vertex"  # a lamp is near the cook-top, whose triangles are large
    episode_fixed_bodies = ()

    def __init__(
        self,
        *,
        control: Control = "ee",
        goal: Goal = "task",
        reward: RewardKind = "dense",
        max_steps: int = 128,
        backend: mjx_env.Backend = "jax",
    ):
        require_one_of("control", control, CONTROLS)
        require_one_of("goal", goal, GOALS)
        require_one_of("reward", reward, REWARDS)
        model = build_model(self.part, control)
        self._end = model.body(END_BODY).id
        led = control == "ee"
        lead = Lead(int(model.body(MOCAP).mocapid[0]), self._end, LEAD_SHARE, WELD_STIFFNESS) if led else None
        super().__init__(model, max_steps=max_steps, backend=backend, lead=lead)
        self.control_by: Control = control
        self.reward: RewardKind = reward
        self.variant = f"{control} {goal} {reward}, expert {script_digest(self.task, control)}"
        self.goal_elements = (self.element,) if goal == "task" else RELEASE_ELEMENTS

    @property
    def name(self) -> str:
        return self.task

    def expert(self) -> mjx_env.Policy:
        """Returns the script for these controls, see `kitchen.experts`. Raises NoExpertError if there is none."""
        return kitchen_expert(self.task, self.control_by)

    def element_distance(self, obs: Float[np.ndarray, "*batch O"]) -> Float[np.ndarray, "*batch"]:
        """Returns the distance of the task's element from its goal in observations, over all its numbers."""
        element = ELEMENTS[self.element]
        return np.linalg.norm(self.positions(obs)[..., list(element.indices)] - np.array(element.goal), axis=-1)

    def reaching_distance(self, poses: GeomPoses) -> Float[np.ndarray, "*batch"]:
        """Returns the distance in metres of the nearer finger's tip from the handle, given the poses of all geoms."""
        pos = np.asarray(poses.pos)
        handle = pos[..., self.handle_geom, :]
        left, right = (np.linalg.norm(pos[..., tip, :] - handle, axis=-1) for tip in self.fingertip_geoms)
        return np.minimum(left, right)

    @property
    def handle_geom(self) -> int:
        """The geom by which the hand moves the task's element."""
        return self.mj_model.geom(PROXY_PREFIX + self.handle).id

    @property
    def fingertip_geoms(self) -> tuple[int, int]:
        """The geoms at the tips of both fingers."""
        left, right = (self.mj_model.geom(PROXY_PREFIX + name).id for name in TIPS)
        return left, right

    # The reset.

    @in_32_bits
    def build_reset_bank(self, seeds: Sequence[int], source: Any = None) -> EnvState:
        """Returns the official reset state once for each seed; all are alike, so `source` makes no difference."""
        del source
        seeds, data = checked_seeds(seeds), self.initial_data()
        none = np.zeros(len(self.goal_elements), bool)
        task = KitchenState.of_leaves(done=none, done_before=none)
        states = [mjx_env.state_from_mujoco(data, task, i) for i in range(len(seeds))]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    def initial_data(self) -> mujoco.MjData:
        """Returns C MuJoCo data of our scene after the official reset, with the leading body at the arm's end."""
        data = mujoco.MjData(self.mj_model)
        data.qpos[:] = INIT_QPOS
        mujoco.mj_forward(self.mj_model, data)
        if self.mj_model.nmocap:
            data.mocap_pos[0], data.mocap_quat[0] = data.xpos[self._end], data.xquat[self._end]
            mujoco.mj_forward(self.mj_model, data)
        return data

    # Control.

    def control(self, state: PhysicsState, action: Float[Array, " A"]) -> tuple[PhysicsState, Float[Array, " U"]]:
        action = jnp.clip(action, -1.0, 1.0)
        is_joint = self.control_by == "joint"
        return state, joint_targets(state.qpos[:N_ROBOT], action) if is_joint else self._lead(state, action)

    def _lead(self, state: PhysicsState, action: Float[Array, " 7"]) -> Float[Array, " 16"]:
        """Returns the actuators' controls and what leads the arm's end.

        As in the release, the seven servos of the arm pull towards position 0 all the while, and the fingers get
        opposite controls, which are clipped to their range: one is closed while the other opens.
        """
        goal = quat_of(euler_of(state.poses.body_quat[self._end]) - action[3:6])
        fingers = jnp.stack([action[6], -action[6]])
        return jnp.concatenate([jnp.zeros(7), fingers, LEAD_DISTANCE * action[:3], goal])

    # What is observed and rewarded.

    def advance_task(self, task: KitchenState, poses: Poses) -> KitchenState:
        del poses
        return task.replace(done_before=task.done)

    def remember(self, state: EnvState, obs: Float[Array, " O"]) -> EnvState:
        done = self._goal_distances(state) < DONE_DISTANCE
        return state.replace(task=state.task.replace(done=state.task.done_before | done))

    def evaluate(
        self, state: EnvState, obs: Float[Array, " O"], action: Float[Array, " A"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        distance, before = self._distance(state, self.element), state.task.done_before
        if self.reward == "dense":
            reward = -jnp.sum(jnp.where(before, 0.0, self._goal_distances(state)))
        else:
            reward = jnp.sum(state.task.done & ~before).astype(jnp.float32)
        return reward, {"success": (distance < DONE_DISTANCE).astype(jnp.float32), "distance": distance}

    def _goal_distances(self, state: EnvState) -> Float[Array, " K"]:
        return jnp.stack([self._distance(state, name) for name in self.goal_elements])

    def _distance(self, state: EnvState, name: str) -> Float[Array, ""]:
        element = ELEMENTS[name]
        return jnp.linalg.norm(state.physics.qpos[np.array(element.indices)] - np.array(element.goal, np.float32))

    def get_obs(self, state: EnvState, params: EnvParams | None = None, key: Array | None = None) -> Float[Array, " O"]:
        del params, key
        qpos, qvel = state.physics.qpos, state.physics.qvel
        if self.control_by == "joint":
            return jnp.concatenate([qpos[:N_ROBOT], qvel[:N_ROBOT], qpos[N_ROBOT:], qvel[N_ROBOT:]])
        return jnp.concatenate([qpos, self.goal_qpos])

    def positions(self, obs: Float[np.ndarray, "*batch O"]) -> Float[np.ndarray, "*batch 30"]:
        """Returns the positions of robot and objects (qpos) in observations."""
        if self.control_by == "ee":
            return obs[..., : len(INIT_QPOS)]
        return np.concatenate([obs[..., :N_ROBOT], obs[..., 2 * N_ROBOT : N_ROBOT + len(INIT_QPOS)]], axis=-1)

    @property
    def goal_qpos(self) -> Float[np.ndarray, " 30"]:
        """The positions that the goal asks for, and 0 for all others."""
        goal = np.zeros(len(INIT_QPOS), np.float32)
        for element in (ELEMENTS[name] for name in self.goal_elements):
            goal[list(element.indices)] = element.goal
        return goal

    @property
    def num_actions(self) -> int:
        return 9 if self.control_by == "joint" else 7

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        del params
        return spaces.Box(-1.0, 1.0, (self.num_actions,))

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        del params
        size = len(INIT_QPOS) + self.mj_model.nv if self.control_by == "joint" else 2 * len(INIT_QPOS)
        return spaces.Box(-jnp.inf, jnp.inf, (size,))
