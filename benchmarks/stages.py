"""The stages of the loop as separate functions, each of which does the same work as inside the iteration."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rcjax import ppo
from rcjax.config import TaskSpec, TrainConfig, demo
from rcjax.embedding import draw_clips, embed_frames
from rcjax.encoders import Encoder, Params, random_encoder
from rcjax.encoders.s3d import S3D
from rcjax.episodes import Inputs, actor, train_mode
from rcjax.loop import TrainState, initial_state, iterate
from rcjax.micro_batch import choose_micro_batch
from rcjax.render import Scene, WarpScene, take_poses
from rcjax.rollout import run_episodes
from rcjax.types import GeomPoses, Rollout
from rcjax.world import World

NETWORK = S3D()
"""The encoder of the benchmarks: S3D of the released size"""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A function to compile and time. `arguments` makes its arguments from the outputs of earlier stages, by name."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[dict[str, Any]], tuple[Any, ...]]


def benchmark_config(n_envs: int, micro_batch: int | None, size: int, frame_stride: int, dtype: str) -> TrainConfig:
    """Returns the `demo` preset at another scale. Its minibatches keep their share of the batch."""
    config = demo()
    steps = n_envs * config.video.episode_length
    share = config.ppo.batch_size / config.steps_per_iteration
    return dataclasses.replace(
        config,
        n_envs=n_envs,
        micro_batch=micro_batch,
        total_env_steps=max(config.total_env_steps, steps),
        spec=TaskSpec(video=("expert",)),
        video=dataclasses.replace(config.video, size=size, frame_stride=frame_stride, dtype=dtype),
        ppo=dataclasses.replace(config.ppo, batch_size=max(2, int(steps * share))),
    )


def random_s3d() -> Encoder:
    """Returns an S3D of the released size with random weights: speed does not depend on them."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 3), np.uint8)
    return random_encoder(jax.random.key(0), noise)


def random_inputs(config: TrainConfig, world: World, encoder: Encoder | None = None) -> Inputs:
    """Returns the inputs of an iteration, by default with `random_s3d`, and with an arbitrary target."""
    encoder = encoder or random_s3d()
    return Inputs(
        env_params=world.train_params,
        scene=world.scene,
        encoder={"video": encoder.params["video"]},
        demonstration=jnp.ones((1, encoder.network.embedding_size)),
    )


def loop_stages(config: TrainConfig, world: World, encoder: Encoder | None = None) -> list[Stage]:
    """Returns physics, rendering, embedding, update, and the whole iteration, for one seed on one device.

    The encoder is `random_s3d` by default.
    """
    encoder = encoder or random_s3d()
    network = encoder.network
    micro_batch = choose_micro_batch(config.micro_batch, config.n_envs, config.video)
    inputs, state = random_inputs(config, world, encoder), initial_state(config, world.env)
    mode, env_ids = train_mode(config), jnp.arange(config.n_envs)
    key, keys = jax.random.key(1), jax.random.split(jax.random.key(2), config.n_envs)

    def physics(state: TrainState, inputs: Inputs, keys: jax.Array):
        return run_episodes(
            world.env, inputs.env_params, actor(state.ppo.params, mode), keys, env_ids, frozen=mode.frozen,
            take_poses=lambda poses: take_poses(inputs.scene, poses), env_config=config.env, video=config.video,
        )  # fmt: skip

    def micro_batches(outputs: dict[str, Any]) -> GeomPoses:
        return jax.tree.map(lambda x: x.reshape(-1, micro_batch, *x.shape[1:]), outputs["physics"].poses)

    def rendering(scene: Scene | WarpScene, micro_batches: GeomPoses) -> jax.Array:
        """Returns sums of pixels, because training never keeps the frames of all episodes at once."""
        return jax.lax.map(
            lambda poses: draw_clips(scene, poses, network, config.video.graph).sum(dtype=jnp.uint32), micro_batches
        )

    def clips(outputs: dict[str, Any]) -> jax.Array:
        draw = jax.jit(draw_clips, static_argnums=(2, 3))
        return draw(inputs.scene, jax.tree.map(lambda x: x[0], micro_batches(outputs)), network, config.video.graph)

    def embedding(encoder: Params, clips: jax.Array) -> jax.Array:
        """Embeds the same micro-batch several times, brighter each time so that XLA cannot leave a pass out."""
        shades = jnp.arange(config.n_envs // micro_batch, dtype=jnp.uint8)
        return jax.lax.map(lambda shade: embed_frames(network, encoder, clips + shade, config.video), shades)

    def update(state: TrainState, rollout: Rollout, key: jax.Array):
        reward = jnp.zeros_like(rollout.value).at[-1].set(jnp.arange(config.n_envs, dtype=jnp.float32))
        ppo_state = jax.tree.map(lambda x: x[0], state.ppo)
        return ppo.update(ppo_state, ppo.make_batch(rollout, reward, config.ppo), key, config.ppo)

    iteration = functools.partial(
        iterate, env=world.env, network=network, config=config, micro_batch=micro_batch, mesh=None
    )
    return [
        Stage("physics", physics, lambda _: (state, inputs, keys)),
        Stage("rendering", rendering, lambda outputs: (inputs.scene, micro_batches(outputs))),
        Stage("embedding", embedding, lambda outputs: (inputs.encoder, clips(outputs))),
        Stage("update", update, lambda outputs: (state, outputs["physics"].rollout, key)),
        Stage("iteration", iteration, lambda _: (state, inputs, mode)),
    ]
