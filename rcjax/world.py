"""What a config describes, built on the host: the environment, its banks of starts, and its scene."""

import dataclasses
from typing import Any

from rcjax import envs
from rcjax.config import TrainConfig, VideoConfig
from rcjax.envs.mjx_env import EnvParams, MjxEnv, choose_backend
from rcjax.micro_batch import choose_micro_batch
from rcjax.render import Scene, View, WarpScene, build_scene, build_warp_scene


@dataclasses.dataclass(frozen=True)
class World:
    """The task's environment, its two banks of starts, and its scene as the encoder sees it."""

    env: MjxEnv
    train_params: EnvParams
    eval_params: EnvParams
    scene: Scene | WarpScene


def build_world(config: TrainConfig) -> World:
    """Builds the environment, its starts and its scene. Raises ValueError for an unknown task."""
    env, train_params = make_env(config)
    eval_params = train_params.replace(bank=env.build_reset_bank(config.env.eval_seeds, config.env.random_source))
    # Only MJX-Warp's renderer has to know how many frames it draws at a time.
    n_episodes = choose_micro_batch(config.micro_batch, config.seeds * config.n_envs, config.video)
    return World(env, train_params, eval_params, task_scene(env, config.video, n_episodes))


def make_env(config: TrainConfig) -> tuple[MjxEnv, EnvParams]:
    """Returns the environment, and its parameters with the bank of training starts."""
    return envs.make(
        config.env.task,
        seeds=config.env.train_seeds,
        random_source=config.env.random_source,
        goal_hidden=config.env.goal_hidden,
        max_steps=config.video.episode_length,
        reward_version=config.env.reward_version,
        backend=choose_backend(config.env.backend),
        control=config.env.control,
        goal=config.env.goal,
    )


def task_scene(
    env: MjxEnv,
    video: VideoConfig,
    n_episodes: int = 1,
    chunk: int | None = None,
    cull: bool = True,
    camera: str | None = None,
) -> Scene | WarpScene:
    """Returns the task's scene as the encoder sees it.

    Args:
        env: The environment.
        video: The size and quality of the frames, and the renderer.
        n_episodes: How many episodes are drawn at a time (MJX-Warp has to know).
        chunk: See `build_scene`.
        cull: See `build_scene`. It does not concern MJX-Warp.
        camera: The name of one of the model's cameras; by default the one that the environment is seen by.

    Raises:
        ValueError: The renderer that `video` names is not available.
    """
    crop = env.view if video.view is None else video.view
    view = View(camera=camera or env.camera, crop=crop, size=video.size, mirror=video.mirror)
    looks: dict[str, Any] = {
        "view": view,
        "episode_fixed_bodies": env.episode_fixed_bodies,
        "samples": video.samples,
        "shadows": video.shadows,
    }
    if video.renderer == "warp":
        return build_warp_scene(env.mj_model, max_frames=n_episodes * video.n_frames, **looks)
    return build_scene(env.mj_model, chunk=chunk, cull=cull, backdrop_lighting=env.backdrop_lighting, **looks)
