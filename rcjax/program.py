"""The iteration, compiled once for a run and its devices, to train and to evaluate with."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.config import TrainConfig
from rcjax.devices import Layout, choose_devices, make_layout
from rcjax.envs import warp_physics
from rcjax.envs.mjx_env import MjxEnv
from rcjax.loop import Inputs, ScoredEpisodes, TrainState, eval_mode, initial_state, iterate, train_mode
from rcjax.micro_batch import choose_micro_batch
from rcjax.s3d import Encoder
from rcjax.types import GeomPoses
from rcjax.world import World


class NotFinite(ValueError):
    """Episodes, or an update, have numbers that are not finite: there is no going on from them."""


Row = dict[str, float]
Rows = list[Row]
"""A seed's metrics each"""


class Program:
    """The compiled iteration of a run, for training and evaluation alike.

    `step` and `evaluate` give the memory of the state they are given to the one they return: go on with that.
    """

    def __init__(
        self, config: TrainConfig, world: World, encoder: Encoder, target: np.ndarray, devices: int | None = None
    ):
        """On `devices` of the devices there are; None: as many as can share the work evenly.

        Raises ValueError for a number of devices or a micro-batch that does not divide the work.
        """
        self.config = config
        self.world = world
        self.layout, self.micro_batch = require_machine(config, devices)
        self.inputs = self.layout.replicate(
            Inputs(
                env_params=world.train_params,
                scene=world.scene,
                encoder={"video": encoder.params["video"]},
                target=jnp.asarray(target),
            )
        )
        self.modes = self.layout.replicate((train_mode(config), eval_mode()))
        self._eval_params = self.layout.replicate(world.eval_params)
        iteration = jitted_iteration(world.env, config, self.micro_batch, self.layout)
        self.lowered = iteration.lower(self.initial_state(), self.inputs, self.modes[0])

    def initial_state(self) -> TrainState:
        """What training begins with, a new one at every call."""
        return self._make_state()

    @functools.cached_property
    def _make_state(self) -> Any:
        make = functools.partial(initial_state, self.config, self.world.env)
        return jax.jit(make, out_shardings=state_shardings(self.layout))

    @functools.cached_property
    def compiled(self) -> Any:
        return self.lowered.compile()

    def step(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array], ScoredEpisodes]:
        """One iteration of training, under way as this returns: the metrics are each seed's [S], see `as_rows`."""
        return self.compiled(state, self.inputs, self.modes[0])

    def evaluate(self, state: TrainState) -> tuple[TrainState, Rows, ScoredEpisodes]:
        """One deterministic episode from each of the first `n_envs` evaluation starts; the state is the same after.

        Raises NotFinite if the episodes have numbers that are not finite.
        """
        inputs = self.inputs.replace(env_params=self._eval_params)
        state, metrics, scored = self.compiled(state, inputs, self.modes[1])
        rows = as_rows(metrics)
        refuse_nonfinite(rows, f"evaluation after iteration {int(state.iteration)}")
        names = ("video_reward", "true_return", "success_rate")
        return state, [{f"eval_{name}": row[name] for name in names} for row in rows], scored

    def first_episode(self, scored: ScoredEpisodes) -> tuple[GeomPoses, float]:
        """The kept poses of the first seed's first episode and its video reward, in every process."""
        pick = jax.jit(
            lambda scored: jax.tree.map(lambda x: x[0, 0], (scored.episodes.poses, scored.video_reward)),
            out_shardings=self.layout.replicated,
        )
        poses, reward = jax.device_get(pick(scored))
        return poses, float(reward)


@functools.lru_cache(maxsize=4)
def jitted_iteration(env: MjxEnv, config: TrainConfig, micro_batch: int, layout: Layout) -> Any:
    """`loop.iterate` of a run, to be compiled. Equal arguments give the same function, which is traced only once: a
    run that is resumed, or evaluated, by the process that began it starts sooner."""
    mesh = layout.mesh if layout.n_devices > 1 else None
    function = functools.partial(iterate, env=env, config=config, micro_batch=micro_batch, mesh=mesh)
    return jax.jit(function, donate_argnums=0, out_shardings=(state_shardings(layout), layout.replicated, None))


def state_shardings(layout: Layout) -> TrainState:
    """A `TrainState` of shardings: each seed's policy on the seed's devices."""
    return TrainState.of_leaves(ppo=layout.by_seed, key=layout.by_seed, iteration=layout.replicated)


def refuse_nonfinite(rows: Rows, where: str) -> None:
    """Raises NotFinite if the rows count anything that is not finite. A training iteration has then left the state as
    it was."""
    rewards, episodes, updates = (
        sum(row[f"nonfinite_{what}"] for row in rows) for what in ("reward", "episodes", "update")
    )
    if rewards:
        raise NotFinite(f"{where}: {rewards:.0f} video rewards are not finite")
    if episodes:
        raise NotFinite(f"{where}: {episodes:.0f} episodes have observations, actions or values that are not finite")
    if updates:
        seeds = sum(row["nonfinite_update"] > 0 for row in rows)
        whose = f" of {seeds} of {len(rows)} seeds" if len(rows) > 1 else ""
        raise NotFinite(
            f"{where}: the update{whose} gives parameters, gradients or losses that are not finite (a smaller "
            "--learning-rate may help)"
        )


def as_rows(metrics: dict[str, jax.Array]) -> Rows:
    """Waits for the iteration that the metrics are of."""
    values = jax.device_get(metrics)
    n_seeds = len(next(iter(values.values())))
    return [{name: float(value[i]) for name, value in values.items()} for i in range(n_seeds)]


def require_machine(config: TrainConfig, devices: int | None) -> tuple[Layout, int]:
    """How a run's work lies on `devices` of the devices there are, and how many episodes each draws at a time.

    Raises ValueError where they cannot share it, or MJX-Warp is asked for and missing. Quick, for a check before long
    work.
    """
    if "warp" in (config.env.backend, config.video.renderer):
        warp_physics.check_installed()
    layout = make_layout(config.seeds, config.n_envs, choose_devices(config.seeds, config.n_envs, devices))
    _refuse_sharded_warp(config, layout)
    local_episodes = config.seeds * config.n_envs // layout.n_devices
    return layout, choose_micro_batch(config.micro_batch, local_episodes, config.video)


def _refuse_sharded_warp(config: TrainConfig, layout: Layout) -> None:
    if layout.n_devices > 1 and "warp" in (config.env.backend, config.video.renderer):
        raise ValueError(
            f"MJX-Warp (env.backend={config.env.backend!r}, video.renderer={config.video.renderer!r}) cannot be shared "
            f"by {layout.n_devices} devices; use --devices 1, or the 'jax' backend and renderer."
        )
