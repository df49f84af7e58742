"""The iteration, compiled once for a run, to train and to evaluate with."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.config import TrainConfig
from rcjax.loop import Inputs, Judged, TrainState, eval_mode, initial_state, iterate, train_mode
from rcjax.s3d import Encoder
from rcjax.world import World

Row = dict[str, float]


class Program:
    """The compiled iteration of a run, for training and evaluation alike."""

    def __init__(self, config: TrainConfig, world: World, encoder: Encoder, target: np.ndarray):
        self.config = config
        self.world = world
        self.inputs = Inputs(
            env_params=world.train_params,
            scene=world.scene,
            encoder={"video": encoder.params["video"]},
            target=jnp.asarray(target),
        )
        self.state = initial_state(config, world.env)
        self.lowered = jax.jit(functools.partial(iterate, env=world.env, config=config)).lower(
            self.state, self.inputs, train_mode(config)
        )

    @functools.cached_property
    def compiled(self) -> Any:
        return self.lowered.compile()

    def step(self, state: TrainState) -> tuple[TrainState, Row, Judged]:
        state, metrics, judged = self.compiled(state, self.inputs, train_mode(self.config))
        return state, _as_row(metrics), judged

    def evaluate(self, state: TrainState) -> tuple[Row, Judged]:
        """One deterministic episode from each of the first `n_envs` evaluation starts; the state is left alone."""
        inputs = self.inputs.replace(env_params=self.world.eval_params)  # pyright: ignore
        _, metrics, judged = self.compiled(state, inputs, eval_mode())
        row = _as_row(metrics)
        return {f"eval_{name}": row[name] for name in ("video_reward", "true_return", "success_rate")}, judged


def _as_row(metrics: dict[str, jax.Array]) -> Row:
    return {name: float(value) for name, value in jax.device_get(metrics).items()}
