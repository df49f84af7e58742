"""A gymnax environment whose transition is MJX physics. What tasks share stands here; see `MjxEnv`.

The state that steps carry is compact: positions, velocities and the solver's warm start, not the whole
`mjx.Data`. The model and the bank of reset states are in `EnvParams`, so they are arguments of the compiled
program and not constants in it.
"""

import abc
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnax.environments import environment, spaces
from jax import Array
from jaxtyping import Bool, Float, Int
from mujoco import mjx

from rcjax.envs import mjx_compat
from rcjax.types import GeomPoses

DEFAULT_SEEDS = range(50)  # of a bank that nobody chose; Metaworld's benchmarks too have 50 starts per task


@chex.dataclass(frozen=True)
class Poses:
    """World poses that one pass of forward kinematics yields, metres. `B` bodies, `G` geoms, `P` sites."""

    body_pos: Float[Array, "*batch B 3"]
    body_quat: Float[Array, "*batch B 4"]  # w x y z
    geom_pos: Float[Array, "*batch G 3"]
    geom_mat: Float[Array, "*batch G 3 3"]
    site_pos: Float[Array, "*batch P 3"]


@chex.dataclass(frozen=True)
class EnvState:
    """Everything a step needs. `task` is a pytree of the environment's own: goal, last frame and so on."""

    time: Int[Array, "*batch"]  # control steps since the reset
    qpos: Float[Array, "*batch Q"]
    qvel: Float[Array, "*batch V"]
    qacc_warmstart: Float[Array, "*batch V"]
    mocap_pos: Float[Array, "*batch M 3"]
    mocap_quat: Float[Array, "*batch M 4"]
    poses: Poses
    task: Any


@chex.dataclass(frozen=True)
class EnvParams:
    """`bank` is an `EnvState` with a leading axis: the states that episodes start from."""

    mjx_model: mjx.Model
    bank: EnvState
    max_steps_in_episode: int | Int[Array, ""] = 128

    @property
    def bank_size(self) -> int:
        return self.bank.time.shape[0]


class MjxEnv(environment.Environment, abc.ABC):
    """Environments on MJX's `jax` backend. Subclasses say how actions drive the scene and what they see of
    it.

    `mj_model` is the edited scene: the renderer draws from it. `episode_fixed_bodies` names the bodies that
    are placed at reset and stay until the next. `prompt` and `camera` are what RoboCLIP shows and tells the
    video model.
    """

    frame_skip: int = 5
    prompt: str
    camera: str
    episode_fixed_bodies: tuple[str, ...]

    def __init__(self, mj_model: mujoco.MjModel, *, max_steps: int = 128, chain_barriers: bool | None = None):
        super().__init__()
        self.mj_model = mj_model
        self.max_steps = max_steps
        self.chain_barriers = mjx_compat.wanted_here() if chain_barriers is None else chain_barriers

    # What a subclass provides.

    @abc.abstractmethod
    def control(
        self, state: EnvState, action: Float[Array, " A"]
    ) -> tuple[Float[Array, "M 3"], Float[Array, "M 4"], Float[Array, " U"]]:
        """Mocap positions and quaternions and actuator controls that hold during the step."""

    @abc.abstractmethod
    def advance_task(self, task: Any, poses: Poses) -> Any:
        """The task's part of the state after a step that led to `poses`."""

    @abc.abstractmethod
    def evaluate(
        self, state: EnvState, obs: Float[Array, " O"], action: Float[Array, " A"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Reward of the step that led to `state`, and its terms; the dict has "success"."""

    @abc.abstractmethod
    def build_reset_bank(self, seeds: Any) -> EnvState:
        """The official reset state of each seed, stacked along a leading axis."""

    # The gymnax interface.

    @property
    def name(self) -> str:
        return type(self).__name__

    @functools.cached_property
    def default_params(self) -> EnvParams:
        """Parameters with a bank of the seeds `DEFAULT_SEEDS`."""
        with jax.ensure_compile_time_eval():  # gymnax asks for it inside a trace too
            return self.make_params(self.build_reset_bank(DEFAULT_SEEDS))

    def make_params(self, bank: EnvState) -> EnvParams:
        """Parameters with this bank of reset states."""
        mjx_model = mjx.put_model(self.mj_model, impl="jax")
        return EnvParams(mjx_model=mjx_model, bank=bank, max_steps_in_episode=self.max_steps)

    def step_env(
        self, key: Array, state: EnvState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """One control step. `key` is unused: the dynamics are deterministic.

        A step that leaves the finite numbers is undone: the state stays, the reward is 0 and
        info["nonfinite"] is 1.
        """
        del key
        moved = self._advance(state, action, params.mjx_model)
        obs = self.get_obs(moved, params)
        reward, terms = self.evaluate(moved, obs, action)
        finite = _all_finite((moved, reward))
        moved = jax.tree.map(lambda new, old: jnp.where(finite, new, old), moved, state)
        moved = moved.replace(time=state.time + 1)
        info = {name: jnp.where(finite, value, 0.0) for name, value in terms.items()}
        info["nonfinite"] = 1.0 - finite.astype(jnp.float32)
        obs = jnp.where(finite, obs, self.get_obs(state, params))
        return obs, moved, jnp.where(finite, reward, 0.0), jnp.zeros((), bool), info

    def reset_env(self, key: Array, params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """A start drawn uniformly from the bank. Consumes `key`."""
        return self.reset_env_at(jax.random.randint(key, (), 0, params.bank_size), params)

    def reset_env_at(self, index: int | Int[Array, ""], params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """The start at `index` of the bank, for environments that keep one frozen start."""
        state = jax.tree.map(lambda leaf: leaf[index], params.bank)
        return self.get_obs(state, params), state

    def observe(self, key: Array, state: EnvState, action: Any, params: EnvParams) -> Float[Array, " O"]:
        del key, action
        return self.get_obs(state, params)

    def is_terminated(self, state: EnvState, params: EnvParams) -> Bool[Array, ""]:
        """Never: only the time limit ends an episode."""
        del params
        return jnp.zeros_like(state.time, bool)

    def geom_poses(self, state: EnvState) -> GeomPoses:
        """Poses of all geoms of `mj_model`, in its order."""
        return GeomPoses(pos=state.poses.geom_pos, mat=state.poses.geom_mat)

    def state_space(self, params: EnvParams) -> spaces.Dict:
        """Positions and velocities, unbounded."""
        del params
        model = self.mj_model
        shapes = {"qpos": (model.nq,), "qvel": (model.nv,), "mocap_pos": (model.nmocap, 3)}
        return spaces.Dict({name: spaces.Box(-jnp.inf, jnp.inf, shape) for name, shape in shapes.items()})

    # Physics.

    def _advance(self, state: EnvState, action: Float[Array, " A"], model: mjx.Model) -> EnvState:
        """`frame_skip` substeps of physics under one action, then the kinematics of where they led."""
        mocap_pos, mocap_quat, ctrl = self.control(state, action)
        with mjx_compat.chain_barriers(self.chain_barriers):
            qpos, qvel, qacc_warmstart, poses = simulate(
                model, state, mocap_pos, mocap_quat, ctrl, substeps=self.frame_skip
            )
        return state.replace(
            time=state.time + 1,
            qpos=qpos,
            qvel=qvel,
            qacc_warmstart=qacc_warmstart,
            mocap_pos=mocap_pos,
            mocap_quat=mocap_quat,
            poses=poses,
            task=self.advance_task(state.task, poses),
        )


def simulate(
    model: mjx.Model,
    state: EnvState,
    mocap_pos: Float[Array, "M 3"],
    mocap_quat: Float[Array, "M 4"],
    ctrl: Float[Array, " U"],
    *,
    substeps: int,
) -> tuple[Float[Array, " Q"], Float[Array, " V"], Float[Array, " V"], Poses]:
    """Positions, velocities, warm start and poses after `substeps` steps.

    Only the first three pass from substep to substep.
    """
    model = place_mocap_bodies(model, mocap_pos, mocap_quat)
    data = mjx.make_data(model, impl="jax").replace(mocap_pos=mocap_pos, mocap_quat=mocap_quat, ctrl=ctrl)

    def substep(carry, _):
        qpos, qvel, qacc_warmstart = carry
        after = mjx.step(model, data.replace(qpos=qpos, qvel=qvel, qacc_warmstart=qacc_warmstart))
        return (after.qpos, after.qvel, after.qacc_warmstart), None

    carry = (state.qpos, state.qvel, state.qacc_warmstart)
    (qpos, qvel, qacc_warmstart), _ = jax.lax.scan(substep, carry, length=substeps)
    return qpos, qvel, qacc_warmstart, poses_of(mjx.kinematics(model, data.replace(qpos=qpos)))


def place_mocap_bodies(model: mjx.Model, mocap_pos: Float[Array, "M 3"], mocap_quat: Float[Array, "M 4"]) -> mjx.Model:
    """The model with its mocap bodies' own frames where they are.

    C MuJoCo moves the children of a mocap body with it. MJX's `jax` backend puts only the body itself there
    and leaves its children at the model's `body_pos`, so that is set too.
    """
    rows = np.nonzero(model.body_mocapid >= 0)[0]
    order = model.body_mocapid[rows]
    quat = mocap_quat / jnp.linalg.norm(mocap_quat, axis=-1, keepdims=True)
    return model.replace(
        body_pos=model.body_pos.at[rows].set(mocap_pos[order]),
        body_quat=model.body_quat.at[rows].set(quat[order]),
    )


def poses_of(data: mjx.Data | mujoco.MjData) -> Poses:
    """The poses in an MJX or a C data structure whose kinematics are up to date."""
    return Poses(
        body_pos=jnp.asarray(data.xpos, jnp.float32),
        body_quat=jnp.asarray(data.xquat, jnp.float32),
        geom_pos=jnp.asarray(data.geom_xpos, jnp.float32),
        geom_mat=jnp.asarray(data.geom_xmat, jnp.float32).reshape(-1, 3, 3),
        site_pos=jnp.asarray(data.site_xpos, jnp.float32),
    )


def state_from_mujoco(data: mujoco.MjData, task: Any) -> EnvState:
    """The state of C MuJoCo's `data` (kinematics up to date), at time 0."""
    return EnvState(
        time=jnp.zeros((), jnp.int32),
        qpos=jnp.asarray(data.qpos, jnp.float32),
        qvel=jnp.asarray(data.qvel, jnp.float32),
        qacc_warmstart=jnp.asarray(data.qacc_warmstart, jnp.float32),
        mocap_pos=jnp.asarray(data.mocap_pos, jnp.float32),
        mocap_quat=jnp.asarray(data.mocap_quat, jnp.float32),
        poses=poses_of(data),
        task=jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float32), task),
    )


def _all_finite(tree: Any) -> Bool[Array, ""]:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
