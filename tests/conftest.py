"""What the whole suite shares: caches of its own, and one small run configuration with its compiled iteration."""

import gc
import os
import pathlib

import pytest

# Compiling is what most tests spend their time on, and most check numbers that do not depend on how well a program is
# optimised. `XLA_FLAGS= pytest` compiles as users do; `.ci/run` does so for the tests marked `slow`.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false",
)

LONGEST = (
    "test_devices",
    "test_official_numbers",
    "test_train",
    "test_loop",
    "tests/envs/test_physics",
    "test_taskspec",
    "render/",
    "s3d/",
    "ppo/",
)


def pytest_xdist_auto_num_workers(config):
    """The whole suite runs in several processes, as compiling keeps one core busy; what is named on the command line
    runs in this one, so that -s shows what is printed."""
    return min(os.cpu_count() or 1, 4) if config.args_source is config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items):
    """The longest modules go first, so that no process is left with one at the end. They are dealt out whole (`--dist
    loadfile`), so that a fixture is made and a program compiled in one process only."""
    items.sort(key=lambda item: next((i for i, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """Demonstrations and compiled programs go to a folder of this test run, not to the user's. All worker processes
    share it, and so do the processes that tests start."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["RCJAX_CACHE"] = str(folder)
    options = {"jax_compilation_cache_dir": str(folder / "xla"), "jax_persistent_cache_min_compile_time_secs": "0"}
    for name, value in options.items():
        os.environ.setdefault(name.upper(), value)
    import jax

    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield folder


@pytest.fixture(scope="module", autouse=True)
def let_go_of_programs():
    yield
    drop_programs()


def drop_programs(limit: int = 20_000) -> None:
    """Forgets the compiled programs of this process where they have more than `limit` memory mappings.

    A process may have 65,530; a run of the whole suite crashed inside XLA. What is needed again comes from the cache on
    disk.
    """
    import jax

    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > limit:
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
    return calibrated_by_c(tiny_config, tiny_world)


def calibrated_by_c(config, world):
    """The encoder of a run, calibrated on episodes that C MuJoCo steps."""
    import functools

    from rcjax import calibration
    from rcjax.envs import native

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "run_policy", functools.partial(calibration.run_policy, make_step=native.c_step))
        return calibration.calibrated_encoder(config, world)


@pytest.fixture(scope="session")
def tiny_program(tiny_config, tiny_world, tiny_encoder):
    return make_program(tiny_config, tiny_world, tiny_encoder)


def make_program(config, world, encoder):
    """The compiled iteration, and the state that training begins with."""
    import numpy as np

    from rcjax.program import Program
    from rcjax.taskspec import embed_spec
    from rcjax.video_io import read_clip

    clip = read_clip(config.spec.video, config.video.n_frames, config.video.size)
    return Program(config, world, encoder, np.asarray(embed_spec(config.spec, clip, encoder, config.video)))


@pytest.fixture(scope="module", params=["toy", pytest.param("mjx", marks=pytest.mark.slow)])
def motion(request):
    """What moves and embeds the episodes that a module's runs make: a few operations (see `toy`), or MJX and S3D."""
    from tests import toy

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "toy":
            toy.install(patch)
        yield request.param
