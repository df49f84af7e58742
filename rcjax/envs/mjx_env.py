"""`MjxEnv`, the base class of gymnax environments whose transition is MJX physics.

The state that steps carry is compact: positions, velocities and the solver's warm start, not the whole `mjx.Data`. The
model and the bank of reset states are in `EnvParams`, so they are arguments of the compiled program and not constants
in it.
"""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnax.environments import environment, spaces
from jax import Array
from jax.core import Tracer
from jaxtyping import Bool, Float, Int
from mujoco import mjx

from rcjax import target
from rcjax.checks import require_integer, require_one_of, short_repr
from rcjax.envs import c_physics, chunks, mjx_compat, physics, small_products, warp_physics
from rcjax.envs.flat_batch import Simulate
from rcjax.envs.physics import Lead, PhysicsState, Poses
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses

Backend = Literal["jax", "c", "warp"]
BACKENDS = get_args(Backend)
DEFAULT_SEEDS = range(50)  # of the default bank; Metaworld's benchmarks also have 50 initial states per task
Policy = Callable[[np.ndarray], np.ndarray]
"""Maps observations [N O] that show the goal to actions [N A]; NumPy arrays, on the host"""


class NoExpertError(ValueError):
    """The task has no expert policy."""


TaskState = Any
"""The part of a state that belongs to the environment: a pytree of arrays, such as `metaworld.sawyer.SawyerState`"""


def choose_backend(name: Literal["auto"] | Backend) -> Backend:
    """Returns `name`, where "auto" is the fastest backend of the platform that needs nothing to be installed."""
    if name != "auto":
        return name
    return "c" if target.platform() == "cpu" else "jax"


class EnvState(PyTree):
    """Everything a step needs to know. `task` is the environment's own part: goal, last frame and so on."""

    time: Int[Array, "*batch"]  # control steps since the reset
    start: Int[Array, "*batch"]  # the entry of the bank that the episode started from
    first_success: Int[Array, "*batch"]  # control step, counted from 1; 0 if there was none so far
    physics: PhysicsState
    task: TaskState


class EnvParams(PyTree):
    """Model, reset states and time limit. `bank` is an `EnvState` with a leading axis: where episodes start."""

    mjx_model: mjx.Model
    bank: EnvState
    max_steps_in_episode: int | Int[Array, ""] = 128

    @property
    def bank_size(self) -> int:
        return self.bank.time.shape[0]


class MjxEnv(environment.Environment, abc.ABC):
    """Base class of environments on MJX. Subclasses define how actions drive the scene and what is observed of it.

    `package` has the official scene, and `variant` says by which options and expert episodes of a task differ.
    `mj_model` is the edited scene, from which the renderer draws. `episode_fixed_bodies` names the bodies that are
    placed at a reset and stay until the next one. `prompt` is RoboCLIP's sentence for the task, and `camera` is the
    camera of its frames, which show the central `view` x `view` pixels of 640x480; `backdrop_lighting` is where the
    light on what never moves is computed, see `build_scene`. `frame_skip` is the number of physics steps in a control
    step. `lead` says which body of the scene leads another, if one does.
    """

    package: str = "metaworld"
    variant: str = ""
    frame_skip: int = 5
    prompt: str
    camera: str
    view: int
    backdrop_lighting: Literal["pixel", "vertex"] = "pixel"
    episode_fixed_bodies: tuple[str, ...]

    def __init__(
        self,
        mj_model: mujoco.MjModel,
        *,
        max_steps: int = 128,
        backend: Backend = "jax",
        lead: Lead | None = None,
    ):
        super().__init__()
        require_integer("max_steps", max_steps, 1)
        require_one_of("backend", backend, BACKENDS)
        self.mj_model = mj_model
        self.max_steps = max_steps
        self.lead = lead
        self._speed_limits = physics.speed_limits(mj_model)
        self.backend = backend
        if backend == "warp":
            if lead is not None:
                raise ValueError("backend='warp' has no body that leads another; use backend='jax', or other controls.")
            warp_physics.check_installed()
            self._simulate: Simulate = warp_physics.make_simulate(mj_model, self.frame_skip)
        elif backend == "c":
            self._simulate = c_physics.make_simulate(mj_model, self.frame_skip, lead)
        else:
            barriers = mjx_compat.are_needed()
            simulate = functools.partial(physics.simulate, substeps=self.frame_skip, barriers=barriers, lead=lead)
            simulate = small_products.with_sums(simulate) if small_products.are_needed() else simulate
            self._simulate = chunks.in_chunks(simulate) if chunks.needs_chunks() else simulate

    # Methods that subclasses implement.

    @abc.abstractmethod
    def control(self, state: PhysicsState, action: Float[Array, " A"]) -> tuple[PhysicsState, Float[Array, " U"]]:
        """Returns `state` with its mocap bodies where they are during the step, and the actuator controls."""

    @abc.abstractmethod
    def advance_task(self, task: TaskState, poses: Poses) -> TaskState:
        """Returns the task's part of the state after a step that led to `poses`."""

    def remember(self, state: EnvState, obs: Float[Array, " O"]) -> EnvState:
        """Returns `state` with what the task stores from step to step although observations do not show it.

        Called before each `evaluate`.
        """
        del obs
        return state

    @abc.abstractmethod
    def evaluate(
        self, state: EnvState, obs: Float[Array, " O"], action: Float[Array, " A"]
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """Returns the reward of the step that led to `state`, and a dictionary of its terms and of "success"."""

    @abc.abstractmethod
    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Returns the space of observations, which does not depend on `params`."""

    @abc.abstractmethod
    def build_reset_bank(self, seeds: Sequence[int], source: Any = None) -> EnvState:
        """Returns the official reset state of each seed, stacked along a leading axis.

        `source` says whose random numbers a seed stands for, where there is a choice.
        """

    @abc.abstractmethod
    def expert(self) -> Policy:
        """Returns a new expert for a batch of episodes, which may keep how far each has come.

        Raises NoExpertError if there is none.
        """

    def obs_with_goal(self, state: EnvState) -> Float[Array, " O"]:
        """Returns the observation with the goal shown, as experts expect it."""
        return self.get_obs(state)

    # The gymnax interface.

    @property
    def name(self) -> str:
        return type(self).__name__

    @functools.cached_property
    def default_params(self) -> EnvParams:
        """Parameters with a bank of the seeds `DEFAULT_SEEDS`."""
        with jax.ensure_compile_time_eval():  # gymnax also asks for it while tracing
            return self.make_params(self.build_reset_bank(DEFAULT_SEEDS))

    @in_32_bits
    def make_params(self, bank: EnvState) -> EnvParams:
        """Returns parameters with this bank of reset states."""
        if self.backend == "warp":
            mjx_model = warp_physics.put_model(self.mj_model)
        else:
            mjx_model = mjx.put_model(self.mj_model, impl="jax", device=jax.local_devices()[0])
        # JAX compiles once for states on a device that it chose itself, and once more for states that were put on a
        # device. Steps return the latter, as the model was put on a device. So the bank is too, and one program takes
        # both.
        (device,) = jax.tree.leaves(mjx_model)[0].devices()
        return EnvParams(mjx_model=mjx_model, bank=jax.device_put(bank, device), max_steps_in_episode=self.max_steps)

    @in_32_bits
    def step_env(
        self, key: Array, state: EnvState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """Takes one control step: returns observation, state, reward, terminated and info.

        `key` is unused, as the dynamics are deterministic. `info` has the terms of the reward; "success" of this step;
        "first_success", the control step (counted from 1) of the first success in the episode, 0 before it; and
        "diverged", 1 where the step was discarded, see `finish_step`.

        Raises ValueError for an action that is not one number for each of `num_actions`, and for parameters of another
        task.
        """
        del key
        self.require_own(params)
        self._require_one(state)
        action = self._checked_action(action)
        driven, ctrl = self.control(state.physics, action)
        return self.finish_step(state, self._simulate(params.mjx_model, driven, ctrl), action, params)

    def finish_step(
        self, state: EnvState, next_physics: PhysicsState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """Returns what `step_env` returns, for a step from `state` whose physics has led to `next_physics`.

        Where `next_physics` or the reward is not finite, or something moves faster than `physics.speed_limits`, the
        environment returns to the initial state of its episode, the reward is 0 and info["diverged"] is 1. The time
        advances all the same, so that the episodes of a batch stay in step.
        """
        time = state.time + 1
        task = self.advance_task(state.task, next_physics.poses)
        next_state = state.replace(time=time, physics=next_physics, task=task)
        obs = self.get_obs(next_state, params)
        next_state = self.remember(next_state, obs)
        reward, terms = self.evaluate(next_state, obs, action)
        stable = physics.is_stable(next_physics, self._speed_limits) & jnp.isfinite(reward)
        restarted = self._start(state.start, params).replace(time=time, first_success=state.first_success)
        next_state = jax.tree.map(lambda new, start: jnp.where(stable, new, start), next_state, restarted)
        info = {name: jnp.where(stable, value, 0.0) for name, value in terms.items()}
        first_success = jnp.where((state.first_success == 0) & (info["success"] > 0), time, state.first_success)
        next_state = next_state.replace(first_success=first_success)
        info |= {"first_success": first_success, "diverged": 1.0 - stable.astype(jnp.float32)}
        return self.get_obs(next_state, params), next_state, jnp.where(stable, reward, 0.0), jnp.zeros((), bool), info

    @in_32_bits
    def reset_env(self, key: Array, params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """Returns observation and state of a reset drawn uniformly from the bank. Consumes `key`."""
        self.require_own(params)
        return self.reset_env_at(jax.random.randint(key, (), 0, params.bank_size), params)

    @in_32_bits
    def reset_env_at(self, index: int | Int[Array, ""], params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """Returns observation and state of entry `index` of the bank, for environments with a fixed initial state.

        Raises ValueError for an index outside the bank. A traced index is not checked: JAX counts
        negative ones from the end, and clamps the others to the bank.
        """
        self.require_own(params)
        state = self._start(_checked_index(index, params), params)
        return self.get_obs(state, params), state

    def _start(self, index: int | Int[Array, ""], params: EnvParams) -> EnvState:
        return jax.tree.map(lambda leaf: leaf[index], params.bank)

    def require_own(self, params: EnvParams) -> None:
        """Raises ValueError for parameters that the environment of another task has made."""
        if not isinstance(params, EnvParams):
            raise ValueError(f"params is {type(params).__name__}; pass the EnvParams that `rcjax.envs.make` returns.")
        shapes = {"qpos": (self.mj_model.nq,), "qvel": (self.mj_model.nv,), "mocap_pos": (self.mj_model.nmocap, 3)}
        bank = {name: getattr(params.bank.physics, name).shape[1:] for name in shapes}
        if bank != shapes or params.mjx_model.names != self.mj_model.names:
            raise ValueError(
                f"params are not those of {self.name}: they belong to another scene; pass those that `make` returned "
                "together with this environment."
            )

    def _require_one(self, state: EnvState) -> None:
        if jnp.ndim(state.time) != 0:
            raise ValueError(
                f"a step takes the state of one environment, got those of a batch {list(jnp.shape(state.time))}; "
                "use jax.vmap(env.step, in_axes=(0, 0, 0, None))."
            )

    def _checked_action(self, action: Any) -> Float[Array, " A"]:
        """Returns the action in float32. Raises ValueError for other shapes and for anything but real numbers."""
        expected = f"{self.num_actions} real numbers, each from -1 to 1"
        try:
            array = jnp.asarray(action)
        except (TypeError, ValueError):
            raise ValueError(f"action={short_repr(action)}; a step takes {expected}.") from None
        if array.shape != (self.num_actions,):
            batch = " (use jax.vmap)" if array.shape[1:] == (self.num_actions,) else ""
            raise ValueError(f"the action's shape is {list(array.shape)}; a step takes {expected}{batch}.")
        if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"the action's dtype is {array.dtype}; a step takes {expected}.")
        return array.astype(jnp.float32)

    def observe(
        self, key: Array, state: EnvState, action: Float[Array, " A"] | None, params: EnvParams
    ) -> Float[Array, " O"]:
        """Returns the observation of `state`; `key` and `action` are not used."""
        del key, action
        return self.get_obs(state, params)

    def is_terminated(self, state: EnvState, params: EnvParams) -> Bool[Array, ""]:
        """Returns False: only the time limit ends an episode."""
        del params
        return jnp.zeros_like(state.time, bool)

    def geom_poses(self, state: EnvState) -> GeomPoses:
        """Returns the poses of all geoms of `mj_model`, in its order."""
        return GeomPoses(pos=state.physics.poses.geom_pos, mat=state.physics.poses.geom_mat)

    def state_space(self, params: EnvParams) -> spaces.Dict:
        """Returns the space of positions and velocities, unbounded."""
        del params
        model = self.mj_model
        shapes = {"qpos": (model.nq,), "qvel": (model.nv,), "mocap_pos": (model.nmocap, 3)}
        return spaces.Dict({name: spaces.Box(-jnp.inf, jnp.inf, shape) for name, shape in shapes.items()})


def state_from_mujoco(data: mujoco.MjData, task: TaskState, start: int) -> EnvState:
    """Returns the state of C MuJoCo's `data`, at time 0, as entry `start` of a bank.

    The kinematics of `data` must be up to date. The leaves of `task` are converted to float32, except for truth values.
    """

    def array(leaf: Any) -> Array:
        return jnp.asarray(leaf, bool if np.asarray(leaf).dtype == bool else jnp.float32)

    return EnvState(
        time=jnp.zeros((), jnp.int32),
        start=jnp.asarray(start, jnp.int32),
        first_success=jnp.zeros((), jnp.int32),
        physics=physics.physics_of(data),
        task=jax.tree.map(array, task),
    )


def _checked_index(index: Any, params: EnvParams) -> Int[Array, ""]:
    """Returns the index in int32. Raises ValueError for anything but a whole number, and for one outside the bank.

    The value of a traced index is unknown, so only its type is checked.
    """
    known = not isinstance(index, Tracer)
    array, entries = np.asarray(index) if known else index, f"the bank's entries 0 to {params.bank_size - 1}"
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"index is {array.dtype} {list(array.shape)}; expected one of {entries} (several: jax.vmap).")
    if known and not 0 <= int(array) < params.bank_size:
        raise ValueError(f"index={array}; expected one of {entries}; `seeds` makes a larger bank.")
    return jnp.asarray(array, jnp.int32)
