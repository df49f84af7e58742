"""The compiled iteration of a run, which both trains and evaluates."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rcjax import finetuning
from rcjax.checkpoints import Arrays, require_fitting, restore_state
from rcjax.config import TrainConfig
from rcjax.devices import Layout, choose_devices, make_layout
from rcjax.encoders import Encoder, Network
from rcjax.envs import warp_physics
from rcjax.envs.mjx_env import MjxEnv
from rcjax.episodes import Inputs, eval_mode, train_mode
from rcjax.loop import ScoredEpisodes, TrainState, initial_state, iterate
from rcjax.micro_batch import choose_micro_batch
from rcjax.types import GeomPoses
from rcjax.world import World


class NotFinite(ValueError):
    """Raised when numbers of an episode or of an update are not finite, so that training cannot go on."""


Row = dict[str, float]
Rows = list[Row]
"""The metrics of each seed."""


class Program:
    """The iteration of a run, compiled once for its devices.

    `step` and `evaluate` donate the memory of the state that they are given, so use only the state they return.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        encoder: Encoder | None,
        demonstration: Any,
        devices: int | None = None,
    ):
        """Places the inputs on the devices and traces the iteration.

        Args:
            config: The run's configuration.
            world: The environment, its banks of starts, and its scene.
            encoder: The encoder, or None for rewards that look at no videos.
            demonstration: What the reward compares episodes with: the targets' embeddings [K D], the expert's
                transitions [M], or None.
            devices: How many devices to use; None uses as many as can share the work evenly.

        Raises:
            ValueError: The number of devices or the micro-batch does not divide the work, or the target is another
                encoder's.
        """
        self.config = config
        self.world = world
        self.layout, self.micro_batch = require_machine(config, devices)
        if encoder is not None and demonstration.shape[1:] != (encoder.network.embedding_size,):
            raise ValueError(
                f"the demonstration's embedding has shape {demonstration.shape}, but the encoder's embeddings have "
                f"{encoder.network.embedding_size} numbers; the run's encoder was exchanged: train a new run."
            )
        self.inputs = self.layout.replicate(
            Inputs(
                env_params=world.train_params,
                scene=world.scene,
                encoder=None if encoder is None else {"video": encoder.params["video"]},
                demonstration=jax.tree.map(jnp.asarray, demonstration),
            )
        )
        self.modes = self.layout.replicate((train_mode(config), eval_mode()))
        self._eval_params = self.layout.replicate(world.eval_params)
        network = None if encoder is None else encoder.network
        iteration = jitted_iteration(world.env, network, config, self.micro_batch, self.layout)
        self.lowered = iteration.lower(self.initial_state(), self.inputs, self.modes[0])

    def initial_state(self) -> TrainState:
        """Returns the state that training begins with, a new copy at every call."""
        return self._make_state()

    def begin_from(self, pretrained: Arrays, state: TrainState) -> TrainState:
        """Returns the new state `state` with the policies of another run, see `finetuning.begin_from`.

        Raises ValueError if their networks have other sizes.
        """
        require_fitting(pretrained, state, f"--init-from {self.config.init_from}")
        begin = functools.partial(finetuning.begin_from, config=self.config)
        return jax.jit(begin, out_shardings=state_shardings(self.layout))(state, restore_state(pretrained, state))

    @functools.cached_property
    def _make_state(self) -> Callable[[], TrainState]:
        make = functools.partial(initial_state, self.config, self.world.env)
        return jax.jit(make, out_shardings=state_shardings(self.layout))

    @functools.cached_property
    def compiled(self) -> jax.stages.Compiled:
        return self.lowered.compile()

    def step(self, state: TrainState) -> tuple[TrainState, dict[str, jax.Array], ScoredEpisodes]:
        """Starts one training iteration and returns before it is done. Every metric is an array [S]; see `as_rows`."""
        return self.compiled(state, self.inputs, self.modes[0])

    def evaluate(self, state: TrainState) -> tuple[TrainState, Rows, ScoredEpisodes]:
        """Runs one episode with the policy's mean action from each of the first `n_envs` evaluation starts.

        Returns the state with the policies that are selected after this evaluation, each seed's metrics with the prefix
        `eval_`, and the episodes. Raises NotFinite if the episodes have numbers that are not finite.
        """
        inputs = self.inputs.replace(env_params=self._eval_params)
        state, metrics, scored = self.compiled(state, inputs, self.modes[1])
        rows = as_rows(metrics)
        refuse_nonfinite(rows, f"evaluation after iteration {int(state.iteration)}")
        names = (self.config.reward_metric, "true_return", "success_rate")
        return state, [{f"eval_{name}": row[name] for name in names} for row in rows], scored

    def first_episode(self, scored: ScoredEpisodes) -> tuple[GeomPoses, float]:
        """Returns the kept poses [F G ...] and the reward of the first seed's first episode, in every process."""
        pick = jax.jit(
            lambda scored: jax.tree.map(lambda x: x[0, 0], (scored.episodes.poses, scored.total_reward)),
            out_shardings=self.layout.replicated,
        )
        poses, reward = jax.device_get(pick(scored))
        return poses, float(reward)


@functools.lru_cache(maxsize=4)
def jitted_iteration(
    env: MjxEnv, network: Network | None, config: TrainConfig, micro_batch: int, layout: Layout
) -> jax.stages.Wrapped:
    """Returns the jitted `loop.iterate` of a run.

    Equal arguments return the same function, which JAX traces only once. So a run that the same process resumes or
    evaluates starts sooner.
    """
    mesh = layout.mesh if layout.n_devices > 1 else None
    function = functools.partial(iterate, env=env, network=network, config=config, micro_batch=micro_batch, mesh=mesh)
    return jax.jit(function, donate_argnums=0, out_shardings=(state_shardings(layout), layout.replicated, None))


def state_shardings(layout: Layout) -> TrainState:
    """Returns a `TrainState` of shardings, which put what each seed learns on the seed's devices."""
    by_seed = layout.by_seed
    return TrainState.of_leaves(ppo=by_seed, reward=by_seed, selected=by_seed, key=by_seed, iteration=layout.replicated)


def refuse_nonfinite(rows: Rows, where: str) -> None:
    """Raises NotFinite if the rows count numbers that are not finite. The training iteration then left the state
    unchanged."""
    rewards, episodes, updates = (
        sum(row[f"nonfinite_{what}"] for row in rows) for what in ("reward", "episodes", "update")
    )
    if rewards:
        raise NotFinite(f"{where}: {rewards:.0f} rewards are not finite")
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
    """Waits for the iteration to finish, and returns its metrics as one dictionary per seed."""
    values = jax.device_get(metrics)
    n_seeds = len(next(iter(values.values())))
    return [{name: float(value[i]) for name, value in values.items()} for i in range(n_seeds)]


def require_machine(config: TrainConfig, devices: int | None) -> tuple[Layout, int]:
    """Returns how the run's work is shared by the devices, and how many episodes each of them draws at a time.

    It is quick, so it serves as a check before long work. Raises ValueError if there are fewer than `devices` devices,
    if they or the micro-batch do not divide the work, and if MJX-Warp is asked for and not installed, or is to run on
    several devices.
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
