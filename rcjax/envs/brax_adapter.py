"""Our environments with the interface of Brax and of MuJoCo Playground, whose steps take and return one `State`.

Brax's training loops take `BraxEnv(env, params)`. Those of Playground, whose states call the physics `data`, take
`BraxEnv(env, params, style="playground")`. Neither package has to be installed.
"""

from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import mujoco
from flax import struct
from jax import Array
from jaxtyping import Float

from rcjax.checks import require_one_of
from rcjax.envs.mjx_env import EnvParams, EnvState, MjxEnv


@struct.dataclass
class BraxState:
    """The fields of `brax.envs.State`."""

    pipeline_state: EnvState
    obs: Array
    reward: Array
    done: Array  # float; always 0, as only the time limit ends an episode
    metrics: dict[str, Array]
    info: dict[str, Any] = struct.field(default_factory=dict)


@struct.dataclass
class PlaygroundState:
    """The fields of `mujoco_playground.State`."""

    data: EnvState
    obs: Array
    reward: Array
    done: Array
    metrics: dict[str, Array]
    info: dict[str, Any] = struct.field(default_factory=dict)


State: TypeAlias = BraxState | PlaygroundState

_PHYSICS_FIELD = {"brax": "pipeline_state", "playground": "data"}


class BraxEnv:
    """One of our gymnax environments with Brax's interface.

    A state's `metrics` are the terms of the reward and "success", "first_success" and "diverged", as in the `info` of a
    step. Steps never end an episode; Brax's `EpisodeWrapper` does, and so it sets the length. `params` become constants
    of the compiled program, as Brax does not pass any.

    Raises ValueError for an unknown style, and for parameters of another task.
    """

    def __init__(self, env: MjxEnv, params: EnvParams, style: Literal["brax", "playground"] = "brax"):
        require_one_of("style", style, tuple(_PHYSICS_FIELD))
        env.require_own(params)
        self.env = env
        self.params = params
        self._physics_field = _PHYSICS_FIELD[style]
        self._state = BraxState if style == "brax" else PlaygroundState

    def reset(self, rng: Array) -> State:
        """Returns a state drawn uniformly from the bank of reset states. Consumes the random key `rng`."""
        obs, state = self.env.reset_env(rng, self.params)
        shapes = jax.eval_shape(self.env.step_env, rng, state, jnp.zeros(self.action_size, jnp.float32), self.params)
        metrics = {name: jnp.zeros(shape.shape, jnp.float32) for name, shape in shapes[-1].items()}
        zero = jnp.zeros((), jnp.float32)
        return self._build(state, obs, zero, zero, metrics, {})

    def step(self, state: State, action: Float[Array, " A"]) -> State:
        """Takes one control step. Keeps what wrappers have written into `info` and `metrics`."""
        key = jax.random.key(0)  # steps need one and use none
        physics = getattr(state, self._physics_field)
        obs, physics, reward, terminated, metrics = self.env.step_env(key, physics, action, self.params)
        metrics = state.metrics | {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
        return self._build(physics, obs, reward, terminated.astype(jnp.float32), metrics, state.info)

    def _build(
        self, physics: EnvState, obs: Array, reward: Array, done: Array, metrics: dict[str, Array], info: dict[str, Any]
    ) -> State:
        return self._state(
            **{self._physics_field: physics}, obs=obs, reward=reward, done=done, metrics=metrics, info=info
        )

    @property
    def observation_size(self) -> int:
        return self.env.observation_space(self.params).shape[0]

    @property
    def action_size(self) -> int:
        return self.env.num_actions

    @property
    def backend(self) -> str:
        return f"mjx-{self.env.backend}"

    @property
    def mj_model(self) -> mujoco.MjModel:
        return self.env.mj_model

    @property
    def dt(self) -> float:
        """Duration of a control step, seconds."""
        return self.env.frame_skip * self.env.mj_model.opt.timestep

    @property
    def unwrapped(self) -> "BraxEnv":
        return self
