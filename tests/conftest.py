"""What the whole suite shares: caches of its own, and one small run configuration with its compiled iteration."""

import gc
import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """Demonstrations and compiled programs go to a folder of this test run, not to the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["RCJAX_CACHE"] = str(folder)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        import jax

        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "xla")  # for the processes that tests start
        jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    yield folder


@pytest.fixture(scope="module", autouse=True)
def let_go_of_programs():
    """Compiled programs pile up otherwise, each with memory mappings of which a process may have 65,530; a run of the
    whole suite crashed inside XLA. What a later module needs again comes from the cache on disk."""
    yield
    import jax

    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory):
    """A GIF of a bright square that wanders over a dark ground: a demonstration that needs no expert."""
    import numpy as np

    from rcjax.video_io import write_video

    frames = np.full((20, 48, 48, 3), 40, np.uint8)
    for i, frame in enumerate(frames):
        frame[10 + i : 20 + i, 8:24] = (220, 60, 60)
    path = tmp_path_factory.mktemp("demonstration") / "square.gif"
    write_video(path, frames, fps=10)
    return path


@pytest.fixture(scope="session")
def tiny_config(tiny_video):
    """Four environments, 16 steps, 8 frames of 32x32: the smallest clip S3D takes is the smallest loop there is."""
    from rcjax.config import EnvConfig, TaskSpec, TrainConfig, VideoConfig
    from rcjax.ppo import PPOConfig

    return TrainConfig(
        preset="demo", n_envs=4, micro_batch=2, total_env_steps=4 * 4 * 16, eval_every=2, checkpoint_every=2,
        spec=TaskSpec(video=str(tiny_video)), env=EnvConfig(bank_size=8),
        video=VideoConfig(episode_length=16, frame_stride=2, size=32), ppo=PPOConfig(n_epochs=2, batch_size=32),
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_world(tiny_config):
    from rcjax.world import build_world

    return build_world(tiny_config)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_config, tiny_world):
    from rcjax.world import calibrated_encoder

    return calibrated_encoder(tiny_config, tiny_world)


@pytest.fixture(scope="session")
def tiny_program(tiny_config, tiny_world, tiny_encoder):
    """The compiled iteration, and the state that training begins with."""
    import numpy as np

    from rcjax.program import Program
    from rcjax.taskspec import embed_spec
    from rcjax.video_io import read_clip

    clip = read_clip(tiny_config.spec.video, tiny_config.video.n_frames, tiny_config.video.size)
    target = embed_spec(tiny_config.spec, clip, tiny_encoder, tiny_config.video)
    return Program(tiny_config, tiny_world, tiny_encoder, np.asarray(target))
