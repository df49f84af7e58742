"""What all Metaworld tasks share: the Sawyer arm led by a mocap body, the 39-number observation, the official
reset.

A task is a subclass of `SawyerEnv` in `rcjax/envs/metaworld/`. It states its scene, the box its random vector
is drawn from, how a vector places the scene, what the object's pose is, and the reward.

Source: metaworld 3.0.0, `sawyer_xyz_env.py`; every number here was checked against the official environment
in tests.
"""

import abc
from collections.abc import Sequence
from typing import Literal

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnasium.utils import seeding
from gymnax.environments import spaces
from jax import Array
from jaxtyping import Float

from rcjax.envs import mjx_env, scenes
from rcjax.envs.mjx_env import EnvParams, EnvState, Poses
from rcjax.envs.scenes import Proxy

ACTION_SCALE = 0.01  # metres of mocap motion per control step at full action
GRIPPER_SPAN = 0.1  # metres between the claws that read as an opening of 1
HAND_LOW = np.array([-0.525, 0.348, -0.0525])  # bounds of the hand in a returned observation, metres
HAND_HIGH = np.array([0.525, 1.025, 0.7])
HAND_DOWN = np.array([1.0, 0.0, 1.0, 0.0])  # mocap quaternion; MuJoCo normalises it
FRAME_SIZE = 18  # hand 3, gripper 1, object(s) 14
RESET_STEPS = 50  # control steps that the official reset holds the mocap for

_ALONG_X = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)
_ALONG_Y = (0.7071067811865476, 0.7071067811865476, 0.0, 0.0)


def _hand_proxies() -> dict[str, tuple[Proxy, ...]]:
    """The hand's proxies by what they meet.

    In the hand's frame x points to the fingertips and y across the fingers.

    A finger, claw and pad together, is 90 x 9 x 30 mm. Its outer face, which pushes, is 3 mm outwards of the
    claw; spheres and capsules are flush with it and with the tip, and thicker than the finger inwards.
    """
    against: dict[str, list[Proxy]] = {"box": [], "capsule": [], "scenery": []}
    for side, inwards in (("right", 1.0), ("left", -1.0)):
        claw = f"{side}claw"

        def within(radius: float, inwards: float = inwards) -> float:
            return inwards * (radius - 0.003)

        for i, x in enumerate((0.033, 0.0)):
            pos = (x, within(0.012), 0.0)
            against["box"].append(Proxy(f"{side}_finger_sphere{i}", claw, "sphere", (0.012,), pos))
        for i, z in enumerate((-0.0085, 0.0085)):
            pos = (0.0, within(0.0065), z)
            capsule = Proxy(f"{side}_finger_capsule{i}", claw, "capsule", (0.0065, 0.0385), pos, _ALONG_X)
            against["capsule"].append(capsule)
        tip_pos = (0.039, within(0.006), 0.0)
        against["scenery"].append(Proxy(f"{side}_fingertip", claw, "sphere", (0.006,), tip_pos))
        base_pos = (-0.069, -0.023 * inwards, -0.008)
        against["box"].append(Proxy(f"{side}_base_sphere", "hand", "sphere", (0.03,), base_pos))
    base = Proxy("base_capsule", "hand", "capsule", (0.027, 0.026), (-0.066, 0.0, -0.008), _ALONG_Y)
    against["capsule"].append(base)
    return {partner: tuple(proxies) for partner, proxies in against.items()}


HAND_PROXIES = _hand_proxies()

RandomSource = Literal["metaworld", "release"]


@chex.dataclass(frozen=True)
class SawyerState:
    """A Metaworld task's own state: the last two observation frames, and what stays during an episode.
    Metres.

    `object_init_pos` and `init_tcp` are the object's and the fingertips' midpoint at reset; rewards are
    scaled by them.
    """

    frame: Float[Array, "*batch 18"]
    previous_frame: Float[Array, "*batch 18"]
    target_pos: Float[Array, "*batch 3"]
    object_init_pos: Float[Array, "*batch 3"]
    init_tcp: Float[Array, "*batch 3"]


class SawyerEnv(mjx_env.MjxEnv):
    """A Metaworld task. Subclasses set the attributes below and `place`, `object_pos_quat`, `evaluate`."""

    scene: scenes.SceneSpec
    hand_init_pos: Sequence[float] = (0.0, 0.6, 0.2)
    mocap_low: Sequence[float] = (-0.5, 0.40, 0.05)
    mocap_high: Sequence[float] = (0.5, 1.0, 0.5)
    goal_low: Sequence[float] = mocap_low
    goal_high: Sequence[float] = mocap_high
    random_low: Sequence[float]
    random_high: Sequence[float]
    camera = "corner2"

    def __init__(self, *, goal_hidden: bool = True, max_steps: int = 128, chain_barriers: bool | None = None):
        model = scenes.build_model(self.scene, HAND_PROXIES)
        super().__init__(model, max_steps=max_steps, chain_barriers=chain_barriers)
        self.goal_hidden = goal_hidden
        self.episode_fixed_bodies = (*self.scene.placed_bodies, scenes.GOAL_SITE)
        bodies = ("hand", "rightclaw", "leftclaw")
        self._hand, self._right_claw, self._left_claw = (model.body(name).id for name in bodies)
        self._finger_ends = [model.site(n).id for n in ("rightEndEffector", "leftEndEffector")]
        self._mocap = self.mocap_id("mocap")

    # What a task provides.

    @abc.abstractmethod
    def place(self, data: mujoco.MjData, random_vector: np.ndarray) -> np.ndarray:
        """On the host: put the objects where `random_vector` says. Returns the target position [3]."""

    @abc.abstractmethod
    def object_pos_quat(self, poses: Poses) -> Float[Array, " K"]:
        """Position and quaternion of the object (7 numbers) or of two (14), in the official layout."""

    # Reset: on the host, with C MuJoCo.

    def mocap_id(self, body: str) -> int:
        """Row of `body` in mocap_pos and mocap_quat."""
        return int(self.mj_model.body(body).mocapid[0])

    def random_vector(self, seed: int, source: RandomSource = "metaworld") -> np.ndarray:
        """The vector that the official environment has after being seeded and reset.

        "metaworld": version 3 after `env.seed(seed); env.reset()`, whose reset draws twice and keeps the
        second. "release": the 2022 fork under RoboCLIP's release, which seeds NumPy's global generator and
        draws once.
        """
        low, high = np.asarray(self.random_low, float), np.asarray(self.random_high, float)
        if source == "metaworld":
            generator, _ = seeding.np_random(int(seed))
            generator.uniform(low, high)
            return generator.uniform(low, high)
        if source == "release":
            return np.random.RandomState(int(seed)).uniform(low, high)
        raise ValueError(f"source={source!r} is no source of random vectors; use 'metaworld' or 'release'.")

    def build_reset_bank(self, seeds: Sequence[int], source: RandomSource = "metaworld") -> EnvState:
        """The official reset state of each seed, stacked along a leading axis; float32."""
        if len(seeds) == 0:
            raise ValueError("seeds is empty; a bank needs at least one seed, for example range(50).")
        held = self._hold_hand()
        states = [self._reset_state(held, self.random_vector(seed, source)) for seed in seeds]
        return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *states)

    def _hold_hand(self) -> mujoco.MjData:
        """C data after the official 50 control steps that pull the hand to its start and open the gripper.

        The objects stand where the XML has them, out of reach, so one such run serves every seed.
        """
        data = mujoco.MjData(self.mj_model)
        data.ctrl[:] = [-1.0, 1.0]
        for _ in range(RESET_STEPS):
            data.mocap_pos[self._mocap] = self.hand_init_pos
            data.mocap_quat[self._mocap] = HAND_DOWN
            mujoco.mj_step(self.mj_model, data, nstep=self.frame_skip)
        return data

    def _reset_state(self, held: mujoco.MjData, random_vector: np.ndarray) -> EnvState:
        data = mujoco.MjData(self.mj_model)
        mujoco.mj_copyData(data, self.mj_model, held)
        # As official: before placing, and of the kinematics before the last substep.
        init_tcp = data.site_xpos[self._finger_ends].mean(axis=0)
        target_pos = self.place(data, random_vector)
        data.mocap_pos[self.mocap_id(scenes.GOAL_SITE)] = target_pos
        mujoco.mj_forward(self.mj_model, data)
        frame = self._frame(mjx_env.poses_of(data))
        task = SawyerState(
            frame=frame,
            previous_frame=frame,
            target_pos=target_pos,
            object_init_pos=frame[4:7],
            init_tcp=init_tcp,
        )
        return mjx_env.state_from_mujoco(data, task)

    # Control and observation.

    def control(
        self, state: EnvState, action: Float[Array, " A"]
    ) -> tuple[Float[Array, "M 3"], Float[Array, "M 4"], Float[Array, " U"]]:
        """The mocap moves by up to 1 cm per axis, inside its box; the last number closes (1), opens (-1)."""
        target = state.mocap_pos[self._mocap] + ACTION_SCALE * jnp.clip(action[:3], -1.0, 1.0)
        target = jnp.clip(target, jnp.asarray(self.mocap_low), jnp.asarray(self.mocap_high))
        mocap_pos = state.mocap_pos.at[self._mocap].set(target)
        mocap_quat = state.mocap_quat.at[self._mocap].set(jnp.asarray(HAND_DOWN, jnp.float32))
        return mocap_pos, mocap_quat, jnp.stack([action[3], -action[3]])

    def tcp(self, poses: Poses) -> Float[Array, " 3"]:
        """Midpoint of the fingertips."""
        right, left = self._finger_ends
        return (poses.site_pos[right] + poses.site_pos[left]) / 2

    def _frame(self, poses: Poses) -> Float[Array, " 18"]:
        """Hand position, gripper opening in [0, 1], object poses; the rest zeros. Not clipped."""
        claws_apart = jnp.linalg.norm(poses.body_pos[self._right_claw] - poses.body_pos[self._left_claw])
        opening = jnp.clip(claws_apart / GRIPPER_SPAN, 0.0, 1.0)
        frame = jnp.concatenate([poses.body_pos[self._hand], opening[None], self.object_pos_quat(poses)])
        return jnp.pad(frame, (0, FRAME_SIZE - frame.shape[0]))

    def advance_task(self, task: SawyerState, poses: Poses) -> SawyerState:
        return task.replace(frame=self._frame(poses), previous_frame=task.frame)

    def get_obs(
        self, state: EnvState, params: EnvParams | None = None, key: Array | None = None
    ) -> Float[Array, " 39"]:
        """This frame, the previous one, the goal (zeros where hidden), within the official bounds."""
        del params, key
        return self._observation(state, self.goal_hidden)

    def obs_with_goal(self, state: EnvState) -> Float[Array, " 39"]:
        """The observation with the goal shown, as expert policies expect it."""
        return self._observation(state, goal_hidden=False)

    def _observation(self, state: EnvState, goal_hidden: bool) -> Float[Array, " 39"]:
        task: SawyerState = state.task
        goal = jnp.zeros_like(task.target_pos) if goal_hidden else task.target_pos
        low, high = self._observation_bounds(goal_hidden)
        return jnp.clip(jnp.concatenate([task.frame, task.previous_frame, goal]), low, high)

    def _observation_bounds(self, goal_hidden: bool) -> tuple[np.ndarray, np.ndarray]:
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
        """Motion of the hand along x, y, z and the gripper's effort, each in [-1, 1]."""
        del params
        return spaces.Box(-1.0, 1.0, (self.num_actions,))

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        del params
        low, high = self._observation_bounds(self.goal_hidden)
        return spaces.Box(jnp.asarray(low), jnp.asarray(high), (2 * FRAME_SIZE + 3,))
