"""Our environments in the style of Brax and of MuJoCo Playground: one `State` goes in and comes out.

`BraxEnv(env, params)` can be handed to Brax's training loops; `BraxEnv(env, params, style="playground")` to those of
Playground, whose state calls its physics `data`. Neither package is needed for it.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
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
    done: Array  # float; 0, as only the time limit ends an episode
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


_PHYSICS = {"brax": "pipeline_state", "playground": "data"}


class BraxEnv:
    """A gymnax environment of ours behind Brax's interface.

    `metrics` are the terms of the reward and "success", "first_success", "diverged", as in a step's `info`. Nothing
    ends an episode here; Brax's `EpisodeWrapper` does, and so sets its length. `params` become constants of the
    compiled program, as Brax passes none.

    Raises ValueError for an unknown style, and for parameters of another task.
    """

    def __init__(self, env: MjxEnv, params: EnvParams, style: Literal["brax", "playground"] = "brax"):
        require_one_of("style", style, tuple(_PHYSICS))
        env.require_own(params)
        self.env = env
        self.params = params
        self._physics = _PHYSICS[style]
        self._state = BraxState if style == "brax" else PlaygroundState

    def reset(self, rng: Array) -> Any:
        """A start drawn from the bank. Consumes `rng`."""
        obs, state = self.env.reset_env(rng, self.params)
        shapes = jax.eval_shape(self.env.step_env, rng, state, jnp.zeros(self.action_size, jnp.float32), self.params)
        metrics = {name: jnp.zeros(shape.shape, jnp.float32) for name, shape in shapes[-1].items()}
        zero = jnp.zeros((), jnp.float32)
        return self._build(state, obs, zero, zero, metrics, {})

    def step(self, state: Any, action: Float[Array, " A"]) -> Any:
        """One control step. What wrappers wrote into `info` and `metrics` is handed through."""
        key = jax.random.key(0)  # steps need one and use none
        physics = getattr(state, self._physics)
        obs, physics, reward, terminated, metrics = self.env.step_env(key, physics, action, self.params)
        metrics = state.metrics | {name: jnp.asarray(value, jnp.float32) for name, value in metrics.items()}
        return self._build(physics, obs, reward, terminated.astype(jnp.float32), metrics, state.info)

    def _build(self, physics: EnvState, obs, reward, done, metrics, info) -> Any:
        return self._state(**{self._physics: physics}, obs=obs, reward=reward, done=done, metrics=metrics, info=info)

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
    def mj_model(self):
        return self.env.mj_model

    @property
    def dt(self) -> float:
        """Seconds of a control step."""
        return self.env.frame_skip * self.env.mj_model.opt.timestep

    @property
    def unwrapped(self) -> "BraxEnv":
        return self
