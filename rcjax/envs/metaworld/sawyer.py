"""What all Metaworld tasks share: the Sawyer arm led by a mocap body, the 39-number observation, the official
reset.

A task is a subclass of `SawyerEnv` in `rcjax/envs/metaworld/tasks/`. It defines its scene, the box from which its
random vector is drawn, how a vector places the objects, what the object's pose is, and the reward.

Source: metaworld 3.0.0, `sawyer_xyz_env.py`; tests check every number here against the official environment.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnasium.utils import seeding
from gymnax.environments import spaces
from jax import Array
from jaxtyping import Float

from rcjax.checks import require_bool, require_integer, require_one_of
from rcjax.envs import mjx_env, physics, scenes
from rcjax.envs.metaworld.hand import HAND_BODIES, HAND_PROXIES, hand_pair
from rcjax.envs.metaworld.policies import expert_policy
from rcjax.envs.metaworld.rewards import Terms, caging_reward, distance, v1_reach_and_pull
from rcjax.envs.metaworld.rotations import xyzw_from_matrix
from rcjax.envs.mjx_env import EnvParams, EnvState
from rcjax.envs.physics import PhysicsState, Poses
from rcjax.envs.seeds import checked_seeds
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree

ACTION_SCALE = 0.01  # metres that the mocap moves per control step at full action
GRIPPER_SPAN = 0.1  # metres between the claws at which the observed opening is 1
HAND_LOW = np.array([-0.525, 0.348, -0.0525])  # bounds of the hand in a returned observation, metres
HAND_HIGH = np.array([0.525, 1.025, 0.7])
HAND_DOWN = np.array([1.0, 0.0, 1.0, 0.0])  # mocap quaternion; MuJoCo normalises it
FRAME_SIZE = 18  # hand 3, gripper 1, object(s) 14
FRAME_SKIP = 5  # physics steps in a control step
PULL_SUBSTEPS = 50 * FRAME_SKIP  # physics steps for which the official reset holds the mocap in place
OPEN = (-1.0, 1.0)  # controls of the fingers
PADS = ("rightpad", "leftpad")  # bodies that rewards read; they are fused, so they are kept as sites of the same names

RandomSource = Literal["metaworld", "release"]
RewardVersion = Literal["v1", "v2"]
RANDOM_SOURCES = get_args(RandomSource)
REWARD_VERSIONS = get_args(RewardVersion)
Reward = tuple[Float[Array, ""], Terms]
"""A reward and its terms"""


@dataclasses.dataclass(frozen=True)
class Placement:
    """What placing the objects determines for the episode, in metres.

    `object_init_pos` is what the official code stores as `obj_init_pos`; None stands for the object's position in the
    first observation. `constants` are further numbers that only the reward of this task reads.
    """

    target_pos: np.ndarray
    object_init_pos: np.ndarray | None = None
    constants: Mapping[str, np.ndarray | np.floating | float] = dataclasses.field(default_factory=dict)


class SawyerState(PyTree):
    """The part of the state that belongs to a Metaworld task, in metres.

    `frame` and `previous_frame` are the last two frames of the observation, and the rest except `memory` is constant
    during an episode. `object_init_pos` and `init_tcp` are the positions of the object and of the fingertips' midpoint
    at reset, by which rewards are scaled. `constants` are explained in `Placement`; `memory` is what `remember` stores
    from step to step.
    """

    frame: Float[Array, "*batch 18"]
    previous_frame: Float[Array, "*batch 18"]
    target_pos: Float[Array, "*batch 3"]
    object_init_pos: Float[Array, "*batch 3"]
    init_tcp: Float[Array, "*batch 3"]
    constants: dict[str, Array]
    memory: dict[str, Array]


def pull_hand(model: mujoco.MjModel, hand_init_pos: Sequence[float], substeps: int = PULL_SUBSTEPS) -> mujoco.MjData:
    """Returns C MuJoCo data of `model` after the first part of the official reset.

    In that part the mocap pulls the hand to `hand_init_pos` (metres) and the gripper opens. `model` may be the official
    scene or ours.
    """
    data = mujoco.MjData(model)
    mocap = model.body("mocap").mocapid[0]
    data.mocap_pos[mocap], data.mocap_quat[mocap], data.ctrl[:] = hand_init_pos, HAND_DOWN, OPEN
    mujoco.mj_step(model, data, nstep=substeps)
    return data


def require_options(max_steps: int, backend: str, reward_version: str) -> None:
    """Raises ValueError for a value that no environment accepts."""
    require_integer("max_steps", max_steps, 1)
    require_one_of("backend", backend, mjx_env.BACKENDS)
    require_one_of("reward_version", reward_version, REWARD_VERSIONS)


class SawyerEnv(mjx_env.MjxEnv):
    """Base class of Metaworld tasks.

    Subclasses set the attributes below and implement `place`, `object_pose`, `reward_v2` (Metaworld's default reward)
    and `reward_v1`. A step's `info` has everything that the official `info` has, except `grasp_success` where that is
    computed from the official solver's contact forces.
    """

    task: str  # Metaworld's name of the task, without the version
    scene: scenes.SceneSpec
    hand_proxies: Mapping[str, Sequence[scenes.Proxy]] = HAND_PROXIES
    hand_pair: scenes.MakePair = staticmethod(hand_pair)
    hand_init_pos: Sequence[float] = (0.0, 0.6, 0.2)
    mocap_low: Sequence[float] = (-0.5, 0.40, 0.05)
    mocap_high: Sequence[float] = (0.5, 1.0, 0.5)
    goal_low: Sequence[float] = mocap_low
    goal_high: Sequence[float] = mocap_high
    random_low: Sequence[float]
    random_high: Sequence[float]
    initial_memory: Mapping[str, float] = {}
    camera = "corner2"
    view = 250

    def __init__(
        self,
        *,
        goal_hidden: bool = True,
        max_steps: int = 128,
        reward_version: RewardVersion = "v2",
        backend: mjx_env.Backend = "jax",
    ):
        require_bool("goal_hidden", goal_hidden)
        require_options(max_steps, backend, reward_version)
        if reward_version == "v1" and type(self).reward_v1 is SawyerEnv.reward_v1:
            raise ValueError(f"{self.task} has no reward 'v1', as Metaworld's own fails there. Use 'v2'.")
        model = scenes.build_model(self.scene, self.hand_proxies, HAND_BODIES, PADS, self.hand_pair)
        super().__init__(model, max_steps=max_steps, backend=backend)
        self.reward_version = reward_version
        self.goal_hidden = goal_hidden
        self.episode_fixed_bodies = (*self.scene.placed_bodies, *self.scene.goal_sites)
        bodies = ("hand", "rightclaw", "leftclaw")
        self._hand, self._right_claw, self._left_claw = (model.body(name).id for name in bodies)
        self._finger_ends = [model.site(n).id for n in ("rightEndEffector", "leftEndEffector")]
        self._mocap = self.mocap_id("mocap")

    @property
    def name(self) -> str:
        return self.task

    # Methods that tasks implement.

    def accepts(self, random_vector: np.ndarray) -> bool:
        """Whether the official reset accepts this random vector; otherwise it draws another."""
        del random_vector
        return True

    @abc.abstractmethod
    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> Placement:
        """Puts the objects where `random_vector` says, by setting mocap_pos and qpos in `data`; runs on the host."""

    @abc.abstractmethod
    def object_pose(self, poses: Poses) -> Float[Array, " K"]:
        """Returns position and quaternion of the object (7 numbers) or of two objects (14), in the official layout."""

    @abc.abstractmethod
    def reward_v2(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Returns Metaworld's reward of version "v2", in [0, 10], and its terms."""

    def reward_v1(self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]) -> Reward:
        """Returns Metaworld's reward of version "v1", in the thousands, and its terms."""
        raise NotImplementedError

    def evaluate(
        self, state: EnvState, obs: Float[Array, " 39"], action: Float[Array, " 4"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        compute = self.reward_v1 if self.reward_version == "v1" else self.reward_v2
        reward, terms = compute(state, obs, action)
        terms = {name: jnp.asarray(value, jnp.float32) for name, value in terms.items()}
        return reward, {**terms, "unscaled_reward": reward}

    def expert(self) -> mjx_env.Policy:
        """Returns Metaworld's scripted policy."""
        return expert_policy(self.name)

    # Methods by which tasks read the state, with the names of the scene.

    def body_pos(self, poses: Poses, name: str) -> Float[Array, " 3"]:
        return poses.body_pos[self.mj_model.body(name).id]

    def body_quat(self, poses: Poses, name: str) -> Float[Array, " 4"]:
        """Returns the quaternion w x y z of a body."""
        return poses.body_quat[self.mj_model.body(name).id]

    def geom_pos(self, poses: Poses, name: str) -> Float[Array, " 3"]:
        return poses.geom_pos[self.mj_model.geom(name).id]

    def geom_quat_xyzw(self, poses: Poses, name: str) -> Float[Array, " 4"]:
        """Returns the quaternion x y z w of a geom with SciPy's sign, as official observations have it for geoms."""
        return xyzw_from_matrix(poses.geom_mat[self.mj_model.geom(name).id])

    def site_pos(self, poses: Poses, name: str) -> Float[Array, " 3"]:
        return poses.site_pos[self.mj_model.site(name).id]

    def joint_qpos(self, state: EnvState, name: str) -> Float[Array, ""]:
        """Returns the position of a hinge (radians) or of a slide (metres)."""
        return state.physics.qpos[self.mj_model.joint(name).qposadr[0]]

    def tcp(self, poses: Poses) -> Float[Array, " 3"]:
        """Returns the midpoint of the fingertips."""
        right, left = self._finger_ends
        return (poses.site_pos[right] + poses.site_pos[left]) / 2

    def caging(
        self, state: EnvState, action: Float[Array, " 4"], object_pos: Float[Array, " 3"], **thresholds: Any
    ) -> Float[Array, ""]:
        """Returns `rewards.caging_reward` of this state; `thresholds` are its keyword arguments."""
        task, poses = state.task, state.physics.poses
        pads = (self.site_pos(poses, "leftpad"), self.site_pos(poses, "rightpad"))
        return caging_reward(
            action, object_pos, task.object_init_pos, self.tcp(poses), task.init_tcp, pads, **thresholds
        )

    def finger_v1(
        self, state: EnvState, obs: Float[Array, " 39"], axis: int, max_distance: Array
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns `rewards.v1_reach_and_pull` of the left finger, and the object's distance to the target along `axis`.

        It is for tasks where version "v1" rewards the left finger at the object and measures that distance only.
        """
        to_target = jnp.abs(obs[4:7] - state.task.target_pos)[axis]
        left_finger = self.site_pos(state.physics.poses, "leftEndEffector")
        return v1_reach_and_pull(distance(obs[4:7], left_finger), max_distance, to_target), to_target

    # The reset, on the host with C MuJoCo.

    def mocap_id(self, body: str) -> int:
        """Returns the row of `body` in mocap_pos and mocap_quat."""
        return int(self.mj_model.body(body).mocapid[0])

    def random_vector(self, seed: int, source: RandomSource = "metaworld") -> np.ndarray:
        """Returns the random vector that the official environment has after being seeded and reset.

        The source "metaworld" is version 3 after `env.seed(seed); env.reset()`, whose reset draws twice and keeps the
        second vector. "release" is the fork of 2022 that RoboCLIP's release uses, which seeds NumPy's global generator
        and draws once.
        """
        low, high = np.asarray(self.random_low, float), np.asarray(self.random_high, float)
        require_one_of("source", source, RANDOM_SOURCES)
        if source == "release":
            return self._draw(np.random.RandomState(int(seed)), low, high)
        generator, _ = seeding.np_random(int(seed))
        self._draw(generator, low, high)
        return self._draw(generator, low, high)

    def _draw(
        self, generator: np.random.Generator | np.random.RandomState, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        """Draws vectors until one is accepted."""
        while not self.accepts(vector := generator.uniform(low, high)):
            pass
        return vector

    @in_32_bits
    def build_reset_bank(self, seeds: Sequence[int], source: RandomSource = "metaworld") -> EnvState:
        """Returns the official reset state of each seed, stacked along a leading axis; float32.

        Raises ValueError for seeds that are not whole numbers from 0 to 2^32 - 1.
        """
        seeds = checked_seeds(seeds)
        initial_data = self.initial_data()
        states = [self.reset_state(initial_data, self.random_vector(seed, source), i) for i, seed in enumerate(seeds)]
        return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *states)

    def initial_data(self) -> mujoco.MjData:
        """Returns C MuJoCo data of our scene with the hand pulled to `hand_init_pos`, by `pull_hand`.

        The objects stand where the XML has them, out of reach, so the same data serves every seed.
        """
        return pull_hand(self.mj_model, self.hand_init_pos)

    def reset_state(self, initial_data: mujoco.MjData, random_vector: np.ndarray, start: int = 0) -> EnvState:
        """Returns the official state after a reset to `random_vector`, as entry `start` of a bank.

        `initial_data` is what the method of that name returns; it is not changed.
        """
        data = mujoco.MjData(self.mj_model)
        mujoco.mj_copyData(data, self.mj_model, initial_data)
        # As in the official code: before placing, and with the kinematics before the last substep.
        init_tcp = data.site_xpos[self._finger_ends].mean(axis=0)
        placement = self.place(data, random_vector)
        for site in self.scene.goal_sites:
            data.mocap_pos[self.mocap_id(site)] = placement.target_pos
        mujoco.mj_forward(self.mj_model, data)
        frame = self._frame(physics.poses_of(data))
        object_init_pos = placement.object_init_pos
        task = SawyerState.of_leaves(
            frame=frame,
            previous_frame=frame,
            target_pos=placement.target_pos,
            object_init_pos=frame[4:7] if object_init_pos is None else object_init_pos,
            init_tcp=init_tcp,
            constants=dict(placement.constants),
            memory=dict(self.initial_memory),
        )
        return mjx_env.state_from_mujoco(data, task, start)

    # Control and observation.

    def control(self, state: PhysicsState, action: Float[Array, " A"]) -> tuple[PhysicsState, Float[Array, " U"]]:
        """Moves the mocap by up to 1 cm per axis inside its box; the last number closes (1) or opens (-1) the gripper.

        Returns `state` with the mocap moved, and the controls of the two fingers.
        """
        target = state.mocap_pos[self._mocap] + ACTION_SCALE * jnp.clip(action[:3], -1.0, 1.0)
        target = jnp.clip(target, jnp.asarray(self.mocap_low), jnp.asarray(self.mocap_high))
        mocap_pos = state.mocap_pos.at[self._mocap].set(target)
        mocap_quat = state.mocap_quat.at[self._mocap].set(jnp.asarray(HAND_DOWN, jnp.float32))
        return state.replace(mocap_pos=mocap_pos, mocap_quat=mocap_quat), jnp.stack([action[3], -action[3]])

    def _frame(self, poses: Poses) -> Float[Array, " 18"]:
        """Returns hand position, gripper opening in [0, 1] and object poses, padded with zeros and not clipped."""
        claws_apart = jnp.linalg.norm(poses.body_pos[self._right_claw] - poses.body_pos[self._left_claw])
        opening = jnp.clip(claws_apart / GRIPPER_SPAN, 0.0, 1.0)
        frame = jnp.concatenate([poses.body_pos[self._hand], opening[None], self.object_pose(poses)])
        return jnp.pad(frame, (0, FRAME_SIZE - frame.shape[0]))

    def advance_task(self, task: SawyerState, poses: Poses) -> SawyerState:
        return task.replace(frame=self._frame(poses), previous_frame=task.frame)

    def get_obs(
        self, state: EnvState, params: EnvParams | None = None, key: Array | None = None
    ) -> Float[Array, " 39"]:
        """Returns this frame, the previous one and the goal (zeros if hidden), clipped to the official bounds."""
        del params, key
        return self._observation(state, self.goal_hidden)

    def obs_with_goal(self, state: EnvState) -> Float[Array, " 39"]:
        """Returns the observation with the goal shown, as expert policies expect it."""
        return self._observation(state, goal_hidden=False)

    def _observation(self, state: EnvState, goal_hidden: bool) -> Float[Array, " 39"]:
        task: SawyerState = state.task
        goal = jnp.zeros_like(task.target_pos) if goal_hidden else task.target_pos
        low, high = self._observation_bounds(goal_hidden)
        return jnp.clip(jnp.concatenate([task.frame, task.previous_frame, goal]), low, high)

    def _observation_bounds(self, goal_hidden: bool) -> tuple[np.ndarray, np.ndarray]:
        """Returns the official bounds, low and high, each [39]."""
        objects = np.full(FRAME_SIZE - 4, np.inf)
        goal_low = np.zeros(3) if goal_hidden else np.asarray(self.goal_low)
        goal_high = np.zeros(3) if goal_hidden else np.asarray(self.goal_high)
        frame_low, frame_high = np.hstack([HAND_LOW, -1.0, -objects]), np.hstack([HAND_HIGH, 1.0, objects])
        low = np.hstack([frame_low, frame_low, goal_low])
        high = np.hstack([frame_high, frame_high, goal_high])
        return low.astype(np.float32), high.astype(np.float32)

    @property
    def num_actions(self) -> int:
        return 4

    def action_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Returns the space of actions: motion of the hand along x, y, z and the gripper's effort, each in [-1, 1]."""
        del params
        return spaces.Box(-1.0, 1.0, (self.num_actions,))

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        del params
        low, high = self._observation_bounds(self.goal_hidden)
        return spaces.Box(jnp.asarray(low), jnp.asarray(high), (2 * FRAME_SIZE + 3,))
