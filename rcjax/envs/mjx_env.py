"""A gymnax environment whose transition is MJX physics. What tasks share stands here; see `MjxEnv`.

The state that steps carry is compact: positions, velocities and the solver's warm start, not the whole
`mjx.Data`. The model and the bank of reset states are in `EnvParams`, so they are arguments of the compiled
program and not constants in it.
"""

import abc
import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from gymnax.environments import environment, spaces
from jax import Array
from jaxtyping import Bool, Float, Int
from mujoco import mjx

from rcjax.checks import require_one_of, require_whole, shown
from rcjax.envs import mjx_compat, physics, warp_physics
from rcjax.envs.physics import PhysicsState, Poses
from rcjax.precision import in_32_bits
from rcjax.pytree import PyTree
from rcjax.types import GeomPoses

Backend = Literal["jax", "warp"]
BACKENDS = get_args(Backend)
DEFAULT_SEEDS = range(50)  # of a bank that nobody chose; Metaworld's benchmarks too have 50 starts per task


class EnvState(PyTree):
    """Everything a step needs. `task` is a pytree of the environment's own: goal, last frame and so on."""

    time: Int[Array, "*batch"]  # control steps since the reset
    start: Int[Array, "*batch"]  # the entry of the bank that the episode began with
    first_success: Int[Array, "*batch"]  # control step, from 1; 0 for none so far
    physics: PhysicsState
    task: Any


class EnvParams(PyTree):
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
        require_whole("max_steps", max_steps, 1)
        require_one_of("backend", backend, BACKENDS)
        self.mj_model = mj_model
        self.max_steps = max_steps
        self._speed_limits = physics.speed_limits(mj_model)
        self.backend = backend
        if backend == "warp":
            warp_physics.check_installed()
            self._simulate = warp_physics.make_simulate(mj_model, self.frame_skip)
        else:
            barriers = mjx_compat.wanted_here() if chain_barriers is None else chain_barriers
            self._simulate = functools.partial(physics.simulate, substeps=self.frame_skip, barriers=barriers)

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

    @in_32_bits
    def make_params(self, bank: EnvState) -> EnvParams:
        """Parameters with this bank of reset states."""
        if self.backend == "warp":
            mjx_model = warp_physics.put_model(self.mj_model)
        else:
            mjx_model = mjx.put_model(self.mj_model, impl="jax", device=jax.local_devices()[0])
        # JAX compiles once for states whose device it chose itself and once more for those that it was told. Steps
        # return the latter, as the model's device is told; so the bank's is too, and one program takes both.
        (device,) = jax.tree.leaves(mjx_model)[0].devices()
        return EnvParams(mjx_model=mjx_model, bank=jax.device_put(bank, device), max_steps_in_episode=self.max_steps)

    @in_32_bits
    def step_env(
        self, key: Array, state: EnvState, action: Float[Array, " A"], params: EnvParams
    ) -> tuple[Float[Array, " O"], EnvState, Float[Array, ""], Bool[Array, ""], dict[str, Array]]:
        """One control step. `key` is unused: the dynamics are deterministic.

        `info` has the reward's terms; "success" of this step; "first_success", the control step (from 1) of the
        episode's first, 0 before; and "diverged", 1 where the step was thrown away: see `land`.

        Raises ValueError for an action that is not one number for each of `num_actions`, and for parameters of another
        task.
        """
        del key
        self.require_own(params)
        self._require_one(state)
        action = self._checked_action(action)
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

    @in_32_bits
    def reset_env(self, key: Array, params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """A start drawn uniformly from the bank. Consumes `key`."""
        self.require_own(params)
        return self.reset_env_at(jax.random.randint(key, (), 0, params.bank_size), params)

    @in_32_bits
    def reset_env_at(self, index: int | Int[Array, ""], params: EnvParams) -> tuple[Float[Array, " O"], EnvState]:
        """The start at `index` of the bank, for environments that keep one frozen start.

        Raises ValueError for an index outside the bank; one that is traced is brought to the bank's nearest end.
        """
        self.require_own(params)
        state = self._start(_checked_index(index, params), params)
        return self.get_obs(state, params), state

    def _start(self, index: int | Int[Array, ""], params: EnvParams) -> EnvState:
        return jax.tree.map(lambda leaf: leaf[index], params.bank)

    def require_own(self, params: EnvParams) -> None:
        """Raises ValueError for parameters that another task's environment made."""
        if not isinstance(params, EnvParams):
            raise ValueError(f"params is {type(params).__name__}; give the EnvParams that `rcjax.envs.make` returns.")
        shapes = {"qpos": (self.mj_model.nq,), "qvel": (self.mj_model.nv,), "mocap_pos": (self.mj_model.nmocap, 3)}
        bank = {name: getattr(params.bank.physics, name).shape[1:] for name in shapes}
        if bank != shapes or params.mjx_model.names != self.mj_model.names:
            raise ValueError(
                f"params are not those of {self.name}: their scene is another one; give those that `make` returned "
                "together with this environment."
            )

    def _require_one(self, state: EnvState) -> None:
        if jnp.ndim(state.time) != 0:
            raise ValueError(
                f"a step takes the state of one environment, got those of a batch {list(jnp.shape(state.time))}; "
                "batch it by jax.vmap(env.step, in_axes=(0, 0, 0, None))."
            )

    def _checked_action(self, action: Any) -> Float[Array, " A"]:
        """The action in float32. Raises ValueError for other shapes and kinds of numbers."""
        expected = f"{self.num_actions} real numbers, each from -1 to 1"
        try:
            array = jnp.asarray(action)
        except (TypeError, ValueError):
            raise ValueError(f"action={shown(action)}; a step takes {expected}.") from None
        if array.shape != (self.num_actions,):
            batch = " (batch it by jax.vmap)" if array.shape[1:] == (self.num_actions,) else ""
            raise ValueError(f"the action's shape is {list(array.shape)}; a step takes {expected}{batch}.")
        if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(array.dtype, jnp.integer):
            raise ValueError(f"the action's dtype is {array.dtype}; a step takes {expected}.")
        return array.astype(jnp.float32)

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


def _checked_index(index: Any, params: EnvParams) -> Int[Array, ""]:
    """The entry of the bank. Raises ValueError for what is not a whole number, and for a known one outside the bank."""
    known = not isinstance(index, jax.core.Tracer)
    array, entries = np.asarray(index) if known else index, f"the bank's entries 0 to {params.bank_size - 1}"
    if array.shape != () or not jnp.issubdtype(array.dtype, jnp.integer):
        raise ValueError(f"index is {array.dtype} {list(array.shape)}; expected one of {entries} (several: jax.vmap).")
    if known and not 0 <= int(array) < params.bank_size:
        raise ValueError(f"index={array}; expected one of {entries}: make more with `seeds`.")
    return jnp.asarray(array, jnp.int32)
