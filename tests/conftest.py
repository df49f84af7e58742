"""Fixtures of the whole suite: separate caches, and one small run configuration with its compiled iteration."""

import contextlib
import gc
import json
import os
import pathlib
from importlib.metadata import version

import pytest

# Most tests spend most of their time on compiling, and check numbers that do not depend on how well a program is
# optimised. `XLA_FLAGS= pytest` compiles as users do, and `.ci/run` does so for the tests marked `slow`.
QUICK_XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if version("jaxlib").startswith("0.10."):  # XLA aborts the process at a flag that it no longer knows
    QUICK_XLA_FLAGS += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", QUICK_XLA_FLAGS)
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")  # programs for one device are compiled faster

LONGEST = (
    "test_loop",  # its scene leaves decimated meshes for the others
    "test_official_numbers",
    "tests/envs/test_physics",
    "test_train",
    "test_devices",
    "test_taskspec",
    "render/",
    "encoders/",
    "experiments/",
    "ppo/",
)


def pytest_xdist_auto_num_workers(config):
    """Runs the whole suite in several processes, because compiling keeps only one core busy.

    Tests that are named on the command line run in this process, so that -s shows their output.
    """
    return min(os.cpu_count() or 1, 4) if config.args_source is config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items):
    """Runs the longest modules first, so that no process is left with one at the end.

    A module runs in a single process (`--dist loadfile`), so that its fixtures are made and its programs compiled once.
    """
    items.sort(key=lambda item: next((i for i, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """Puts meshes, demonstrations and compiled programs into a folder of this test run instead of the user's cache.

    All worker processes share it, and so do the processes that tests start. With the variable RCJAX_TEST_CACHE, so do
    several test runs, which is faster.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = pathlib.Path(os.environ.get("RCJAX_TEST_CACHE") or folder / "cache")
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
def forget_programs():
    yield
    clear_programs()


def clear_programs(limit: int = 20_000) -> None:
    """Forgets the compiled programs of this process if it has more than `limit` memory mappings.

    The system allows 65,530 per process, and a run of the whole suite once crashed inside XLA. Programs that are needed
    later are read from the cache on disk.
    """
    import jax

    maps = pathlib.Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > limit:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory):
    """A GIF of a bright square that moves over a dark background: a demonstration that needs no expert."""
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
    """Four environments, 16 steps and 8 frames of 32x32, the smallest size that S3D accepts."""
    from rcjax.config import EnvConfig, TaskSpec, TrainConfig, VideoConfig
    from rcjax.ppo import PPOConfig

    return TrainConfig(
        preset="demo", encoder="random", spec=TaskSpec(video=str(tiny_video)), n_envs=4, micro_batch=2,
        total_env_steps=4 * 4 * 16, eval_every=2, checkpoint_every=2, env=EnvConfig(bank_size=8),
        video=VideoConfig(episode_length=16, frame_stride=2, size=32), ppo=PPOConfig(n_epochs=2, batch_size=32),
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_world(tiny_config):
    from rcjax.world import build_world

    return build_world(tiny_config)


@pytest.fixture(scope="session")
def tiny_encoder():
    from tests.encoders import tiny

    return tiny.make_random_encoder()


def rows_of(path):
    """Returns the rows of a run's metrics without the field that differs between two equal runs."""
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture
def no_videos(monkeypatch):
    """Drawing a policy's video takes longer than the rest of a run this small."""
    from rcjax import train

    monkeypatch.setattr(train, "policy_video", lambda *_: None)


def stepped_by(backend, config):
    """Returns the config with another backend of physics."""
    import dataclasses

    return dataclasses.replace(config, env=dataclasses.replace(config.env, backend=backend))


@pytest.fixture(scope="session")
def tiny_program(tiny_config, tiny_world, tiny_encoder):
    return make_program(tiny_config, tiny_world, tiny_encoder)


def make_program(config, world, encoder):
    """Returns the program of a run, whose demonstration is a video file."""
    from rcjax.program import Program
    from rcjax.taskspec import embed_spec
    from rcjax.video_io import read_clip

    (path,) = config.spec.video
    clips = {path: read_clip(path, config.video.n_frames, config.video.size)}
    return Program(config, world, encoder, embed_spec(config.spec, clips, encoder, config.video))


def pytest_generate_tests(metafunc):
    """Runs tests that use `motion` with toys, and those marked `real` a second time, slowly, with physics and S3D."""
    if "motion" in metafunc.fixturenames:
        real = [pytest.param("real", marks=pytest.mark.slow)] if any(metafunc.definition.iter_markers("real")) else []
        metafunc.parametrize("motion", ["toy", *real], indirect=True)


@pytest.fixture(scope="module")
def motion(request):
    """Chooses what moves and embeds a module's episodes: a few operations (see `toy`), or physics and S3D.

    Videos to watch are small in either case: drawing one of the usual size takes longer than such a run.
    """
    from rcjax import showcase
    from tests import toy

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showcase, "SIZE", 64)
        with toy.installed() if request.param == "toy" else contextlib.nullcontext():
            yield request.param
