"""A gymnax environment whose transition is MJX physics. What tasks share stands here; see `MjxEnv`.

The state that steps carry is compact: positions, velocities and the solver's warm start, not the whole
`mjx.Data`. The model and the bank of reset states are in `EnvParams`, so they are arguments of the compiled
program and not constants in it.
"""

import abc
import functools
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import mujoco
from gymnax.environments import environment, spaces
from jax import Array
from jaxtyping import Bool, Float, Int
from mujoco import mjx

from rcjax.envs import mjx_compat, physics, warp_physics
from rcjax.envs.physics import PhysicsState, Poses
from rcjax.types import GeomPoses

Backend = Literal["jax", "warp"]
DEFAULT_SEEDS = range(50)  # of a bank that nobody chose; Metaworld's benchmarks too have 50 starts per task


@chex.dataclass(frozen=True)
class EnvState:
    """Everything a step needs. `task` is a pytree of the environment's own: goal, last frame and so on."""

    time: Int[Array, "*batch"]  # control steps since the reset
    start: Int[Array, "*batch"]  # the entry of the bank that the episode began with
    first_success: Int[Array, "*batch"]  # control step, from 1; 0 for none so far
    physics: PhysicsState
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
    """Environments on MJX. Subclasses say how actions drive the scene and what they see of
    it.

    `mj_model` is the edited scene: the renderer draws from it. `episode_fixed_bodies` names the bodies that
    are placed at reset and stay until the next. `prompt` and `camera` are what RoboCLIP shows and tells the
    video model.
    """

    frame_skip: int = 5
    prompt: str
    camera: str
    episode_fixed_bodies: tuple[str, ...]

    def __init__(
        self,
        mj_model: mujoco.MjModel,
        *,
        max_steps: int = 128,
        backend: Backend = "jax",
        chain_barriers: bool | None = None,
    ):
        super().__init__()
        self.mj_model = mj_model
        self.max_steps = max_steps
        self._speed_limits = physics.speed_limits(mj_model)
        self.backend = backend
        if backend == "warp":
            warp_physics.check_installed()
            self._simulate = warp_physics.make_simulate(mj_model, self.frame_skip)
        elif backend == "jax":
            barriers = mjx_compat.wanted_here() if chain_barriers is None else chain_barriers
            self._simulate = functools.partial(physics.simulate, substeps=self.frame_skip, barriers=barriers)
        else:
            raise ValueError(f"backend={backend!r} is no physics backend; use 'jax' (any device) or 'warp' (CUDA).")

    # What a subclass provides.

    @abc.abstractmethod
    def control(self, state: PhysicsState, action: Float[Array, " A"]) -> tuple[PhysicsState, Float[Array, " U"]]:
        """`state` with its mocap bodies where they are during the step, and actuator controls."""

    @abc.abstractmethod
    def advance_task(self, task: Any, poses: Poses) -> Any:
        """The task's part of the state after a step that led to `poses`."""

    def remember(self, state: EnvState, obs: Float[Array, " O"]) -> EnvState:
        """`state` with what the task keeps in mind from step to step and observations do not show; called before each
        `evaluate`."""
        del obs
        return state

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
        if self.backend == "warp":
            mjx_model = warp_physics.put_model(self.mj_model)
        else:
            mjx_model = mjx.put_model(self.mj_model, impl="jax", device=jax.local_devices()[0])
        return EnvParams(mjx_model=mjx_model, bank=bank, max_steps_in_episode=self.max_steps)

    def step_env(
        self, key: Array, state: EnvState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """One control step. `key` is unused: the dynamics are deterministic.

        `info` has the reward's terms; "success" of this step; "first_success", the control step (from 1) of the
        episode's first, 0 before; and "diverged", 1 where the step was thrown away: see `land`.
        """
        del key
        held, ctrl = self.control(state.physics, action)
        return self.land(state, self._simulate(params.mjx_model, held, ctrl), action, params)

    def land(
        self, state: EnvState, moved: PhysicsState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """What `step_env` returns for a step that physics has taken to `moved`.

        Where that is not finite, or explodes (`physics.speed_limits`), the environment goes back to the start of its
        episode, the reward is 0 and info["diverged"] is 1. Time goes on, so a batch of episodes stays in step.
        """
        time = state.time + 1
        landed = state.replace(time=time, physics=moved, task=self.advance_task(state.task, moved.poses))
        obs = self.get_obs(landed, params)
        landed = self.remember(landed, obs)
        reward, terms = self.evaluate(landed, obs, action)
        sound = physics.is_sound(moved, self._speed_limits) & jnp.isfinite(reward)
        again = self._start(state.start, params).replace(time=time, first_success=state.first_success)
        landed = jax.tree.map(lambda new, start: jnp.where(sound, new, start), landed, again)
        info = {name: jnp.where(sound, value, 0.0) for name, value in terms.items()}
        first_success = jnp.where((state.first_success == 0) & (info["success"] > 0), time, state.first_success)
        landed = landed.replace(first_success=first_success)
        info |= {"first_success": first_success, "diverged": 1.0 - sound.astype(jnp.float32)}
        return self.get_obs(landed, params), landed, jnp.where(sound, reward, 0.0), jnp.zeros((), bool), info

    def reset_env(self, key: Array, params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """A start drawn uniformly from the bank. Consumes `key`."""
        return self.reset_env_at(jax.random.randint(key, (), 0, params.bank_size), params)

    def reset_env_at(self, index: int | Int[Array, ""], params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """The start at `index` of the bank, for environments that keep one frozen start."""
        state = self._start(index, params)
        return self.get_obs(state, params), state

    def _start(self, index: int | Int[Array, ""], params: EnvParams) -> EnvState:
        return jax.tree.map(lambda leaf: leaf[index], params.bank)

    def observe(self, key: Array, state: EnvState, action: Any, params: EnvParams) -> Float[Array, " O"]:
        del key, action
        return self.get_obs(state, params)

    def is_terminated(self, state: EnvState, params: EnvParams) -> Bool[Array, ""]:
        """Never: only the time limit ends an episode."""
        del params
        return jnp.zeros_like(state.time, bool)

    def geom_poses(self, state: EnvState) -> GeomPoses:
        """Poses of all geoms of `mj_model`, in its order."""
        return GeomPoses(pos=state.physics.poses.geom_pos, mat=state.physics.poses.geom_mat)

    def state_space(self, params: EnvParams) -> spaces.Dict:
        """Positions and velocities, unbounded."""
        del params
        model = self.mj_model
        shapes = {"qpos": (model.nq,), "qvel": (model.nv,), "mocap_pos": (model.nmocap, 3)}
        return spaces.Dict({name: spaces.Box(-jnp.inf, jnp.inf, shape) for name, shape in shapes.items()})


def state_from_mujoco(data: mujoco.MjData, task: Any, start: int) -> EnvState:
    """The state of C MuJoCo's `data` (kinematics up to date), at time 0; `start` is its place in the bank."""
    return EnvState(
        time=jnp.zeros((), jnp.int32),
        start=jnp.asarray(start, jnp.int32),
        first_success=jnp.zeros((), jnp.int32),
        physics=physics.physics_of(data),
        task=jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), task),
    )
