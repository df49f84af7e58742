"""Compares the speed of our renderer, MJX-Warp's and MuJoCo's OpenGL renderer on the same scene, poses and view.

The scene is drawer-close, and the poses are those of the expert's episode. MJX-Warp is timed if the extra `warp` is
installed, and `mujoco.Renderer` if MUJOCO_GL is set (to osmesa or egl). The renderers of one row run in turns, so that
the ratios are meaningful on a machine with other load. Every image ends as uint8: ours and Warp's on the device,
OpenGL's read back one by one, as its interface requires.
"""

import contextlib
import copy
import dataclasses
import functools
import importlib
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import tyro
from jax import Array

from benchmarks.opengl import OpenGL
from benchmarks.report import disable_compilation_cache, save
from rcjax import envs
from rcjax.demonstration import expert_poses
from rcjax.envs.mjx_env import MjxEnv
from rcjax.render import Scene, View, WarpScene, build_scene, build_warp_scene, render_frames, take_poses
from rcjax.types import GeomPoses

EPISODE_LENGTH = 128  # control steps
CPU_BATCHES, DEVICE_BATCHES = (1, 32, 128), (1, 32, 256, 1024, 4096)
OPENGL_PICTURES = 8  # images per run; it draws one at a time, so more would not change its speed


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the renderers."""

    sizes: tuple[int, ...] = (64, 112, 128, 250)
    """Sides of the images in pixels."""
    batches: tuple[int, ...] = ()
    """Images per call; by default 1, 32, 128 on a CPU and 1, 32, 256, 1024, 4096 elsewhere."""
    frames: int = 32
    """Frames per episode: a batch has this many frames of each episode, or is one shorter episode."""
    renderers: tuple[Literal["ours", "warp", "opengl"], ...] = ("ours", "warp", "opengl")
    """Renderers to time, if they are available."""
    samples: int = 1
    """Samples per pixel of our renderer and Warp's; OpenGL is timed without multisampling and with 4 samples."""
    shadows: bool = False
    """Whether all renderers draw shadows."""
    micro_batch: int | None = None
    """Number of episodes that our renderer draws at a time, as in training; by default all of a batch."""
    repeats: int = 5
    """Number of timed runs, after one that is not counted."""
    run_limit_s: float = 5.0
    """Leave out a batch if one run would take longer, estimated from the batch before."""
    budget_s: float = 400.0
    """Start no further row after this many seconds."""
    out: Path | None = None
    """File to which the result is written as JSON."""

    def __post_init__(self):
        uneven = [batch for batch in self.batches if batch < 1 or batch % min(batch, self.frames)]
        if uneven or self.frames < 1:
            raise ValueError(
                f"batches {uneven or list(self.batches)} with frames={self.frames}; give batches below `frames`, or "
                "multiples of it."
            )


@dataclasses.dataclass(frozen=True)
class Batch:
    """The frames that one call draws."""

    size: int
    episodes: int
    frames: int

    @property
    def pictures(self) -> int:
        """Number of images."""
        return self.episodes * self.frames


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of one renderer on one batch, or a `note` why it was not timed."""

    pictures: int = 0  # images per run
    scene_s: float = 0.0  # building the scene
    compile_s: float = 0.0  # everything after that up to the end of the first run, minus one run
    run_s: tuple[float, ...] = ()  # every run, in the order of the rounds
    note: str = ""

    @property
    def frames_per_s(self) -> float:
        """Images per second in the median run."""
        return self.pictures / statistics.median(self.run_s)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A renderer that has drawn its first batch; calling `run` draws the batch again."""

    run: Callable[[], Any]
    pictures: int
    scene_s: float
    first_run_s: float


@dataclasses.dataclass(frozen=True)
class Subject:
    """The task's environment, the poses `[T G]` of the expert's episode, and the options."""

    env: MjxEnv
    poses: GeomPoses
    options: Options

    def batch(self, batch: Batch) -> GeomPoses:
        """Returns poses [N F G], where each episode starts one control step after the previous one."""
        length = self.poses.pos.shape[0]
        steps = np.arange(batch.episodes)[:, None] + np.arange(batch.frames) * max(1, length // self.options.frames)
        return jax.tree.map(lambda x: np.asarray(x)[steps % length], self.poses)

    def scene_arguments(self, size: int) -> dict[str, Any]:
        """Returns the arguments that both scene builders take."""
        return {
            "view": View(camera=self.env.camera, size=size),
            "episode_fixed_bodies": self.env.episode_fixed_bodies,
            "samples": self.options.samples,
            "shadows": self.options.shadows,
        }


def prepare_ours(batch: Batch, subject: Subject, scenes: dict[int, Scene]) -> Prepared:
    """Prepares our renderer. `scenes` caches the scenes by their size."""
    micro_batch = subject.options.micro_batch or batch.episodes

    def draw(scene: Scene, poses: GeomPoses) -> Array:
        if micro_batch >= batch.episodes:
            return render_frames(scene, poses)
        split = jax.tree.map(lambda x: x.reshape(-1, micro_batch, *x.shape[1:]), poses)
        return jax.lax.map(lambda some: render_frames(scene, some), split)

    started = time.perf_counter()
    if batch.size not in scenes:  # one scene serves every batch
        scene = build_scene(subject.env.mj_model, **subject.scene_arguments(batch.size))
        scenes[batch.size] = jax.block_until_ready(scene)
    return _prepare_program(batch, draw, scenes[batch.size], subject, time.perf_counter() - started)


def prepare_warp(batch: Batch, subject: Subject) -> Prepared:
    """Prepares MJX-Warp's renderer."""
    started = time.perf_counter()
    arguments = subject.scene_arguments(batch.size)
    scene = build_warp_scene(subject.env.mj_model, max_frames=batch.pictures, **arguments)

    def draw(scene, poses):  # a new function, so that what `jit` caches, such as Warp's buffers, is freed with it
        return render_frames(scene, poses)

    return _prepare_program(batch, draw, scene, subject, time.perf_counter() - started)


def _prepare_program(
    batch: Batch, draw: Callable[..., Array], scene: Scene | WarpScene, subject: Subject, scene_s: float
) -> Prepared:
    """Compiles `draw` and runs it once."""
    poses = jax.tree.map(jnp.asarray, take_poses(scene, subject.batch(batch)))
    started = time.perf_counter()
    program = jax.jit(draw).lower(scene, poses).compile()
    jax.block_until_ready(program(scene, poses))
    first_run_s = time.perf_counter() - started
    return Prepared(lambda: jax.block_until_ready(program(scene, poses)), batch.pictures, scene_s, first_run_s)


def prepare_opengl(batch: Batch, subject: Subject, samples: int, stack: contextlib.ExitStack) -> Prepared:
    """Prepares MuJoCo's OpenGL renderer, which `stack` closes.

    Raises ValueError if OpenGL does not provide the requested number of samples per pixel.
    """
    poses = jax.tree.map(lambda x: x[0], subject.batch(Batch(batch.size, 1, OPENGL_PICTURES)))
    started = time.perf_counter()
    model, view = square_model(subject.env.mj_model, subject.scene_arguments(batch.size)["view"])
    shadows = subject.options.shadows
    renderer = stack.enter_context(OpenGL(model, view, shadows=shadows, samples=samples, reflections=False))
    scene_s = time.perf_counter() - started
    if max(1, renderer.samples) != samples:
        raise ValueError(f"OpenGL uses {renderer.samples} samples per pixel instead of {samples}.")
    renderer.draw(poses)
    return Prepared(lambda: renderer.draw(poses), OPENGL_PICTURES, scene_s, time.perf_counter() - started - scene_s)


def square_model(model: mujoco.MjModel, view: View) -> tuple[mujoco.MjModel, View]:
    """Returns a model and a view whose full image is the square of `view`, so that OpenGL draws nothing else."""
    square = copy.copy(model)
    camera = model.camera(view.camera).id
    half = view.crop / view.frame_height * np.tan(np.radians(model.cam_fovy[camera]) / 2)
    square.cam_fovy[camera] = np.degrees(2 * np.arctan(half))
    side = {name: view.size for name in ("frame_height", "frame_width", "crop")}
    return square, dataclasses.replace(view, **side)


def time_batch(
    batch: Batch, subject: Subject, scenes: dict[int, Scene], available: list[str], previous: dict[str, Timing]
) -> dict[str, Timing]:
    """Times all renderers on one batch, in turns; `previous` holds the timings of the smaller batch."""
    with contextlib.ExitStack() as stack:
        prepare: dict[str, Callable[[], Prepared]] = {
            "ours": functools.partial(prepare_ours, batch, subject, scenes),
            "warp": functools.partial(prepare_warp, batch, subject),
            "opengl": functools.partial(prepare_opengl, batch, subject, 1, stack),
            "opengl_4": functools.partial(prepare_opengl, batch, subject, 4, stack),
        }
        ready = {}
        for name in available:
            last_timing = None if name.startswith("opengl") else previous.get(name)
            reason = _reason_to_skip(batch, last_timing, subject.options.run_limit_s)
            ready[name] = Timing(note=reason) if reason else _prepare_or_note(prepare[name])
        runs: dict[str, list[float]] = {name: [] for name, outcome in ready.items() if isinstance(outcome, Prepared)}
        for _ in range(subject.options.repeats):
            for name, seconds in runs.items():
                started = time.perf_counter()
                ready[name].run()
                seconds.append(time.perf_counter() - started)
    return {
        name: _timing(outcome, runs[name]) if isinstance(outcome, Prepared) else outcome
        for name, outcome in ready.items()
    }


def _reason_to_skip(batch: Batch, previous: Timing | None, limit_s: float) -> str:
    """Why the batch is not timed, judging by the previous one; empty if it is."""
    if previous is None:
        return ""
    if previous.note:
        return previous.note
    return f"over {limit_s:g} s" if batch.pictures / previous.frames_per_s > limit_s else ""


def _prepare_or_note(prepare: Callable[[], Prepared]) -> Prepared | Timing:
    """Prepares a renderer; notes the error if a batch does not fit into the device's memory."""
    try:
        return prepare()
    except RuntimeError as error:  # JAX's own error is one, too
        if "RESOURCE_EXHAUSTED" not in str(error) and "allocate" not in str(error):
            raise
        return Timing(note="out of memory")


def _timing(ready: Prepared, run_s: list[float]) -> Timing:
    compile_s = max(0.0, ready.first_run_s - statistics.median(run_s))
    return Timing(ready.pictures, ready.scene_s, compile_s, tuple(run_s))


def time_all(options: Options, subject: Subject, available: list[str]) -> Iterator[dict[str, Any]]:
    """Yields a row per size and batch, small batches first, until the time is up."""
    started = time.perf_counter()
    batches = options.batches or (CPU_BATCHES if jax.default_backend() == "cpu" else DEVICE_BATCHES)
    for size in options.sizes:
        scenes: dict[int, Scene] = {}
        timings: dict[str, Timing] = {}
        for count in sorted(batches):
            frames = min(count, options.frames)
            batch = Batch(size, count // frames, frames)
            if time.perf_counter() - started > options.budget_s:
                print(f"No time left for {count} images of {size}x{size}.", flush=True)
                continue
            timings = time_batch(batch, subject, scenes, available, timings)
            yield {"batch": batch, "timings": timings, "ratios": ratios(timings)}


def ratios(timings: dict[str, Timing]) -> dict[str, float]:
    """Returns how many times as fast our renderer is as each other one: the median over the rounds."""
    ours = timings.get("ours")
    if ours is None or ours.note:
        return {}

    def over(other: Timing) -> float:
        rounds = zip(ours.run_s, other.run_s, strict=True)
        return statistics.median(ours.pictures / a * b / other.pictures for a, b in rounds)

    return {name: over(other) for name, other in timings.items() if name != "ours" and not other.note}


def find_renderers(wanted: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Returns the available ones of the wanted renderers, and why the others are left out."""
    left_out = {}
    if importlib.util.find_spec("warp") is None:
        left_out["warp"] = "the extra `warp` is not installed"
    elif jax.default_backend() == "tpu":
        left_out["warp"] = "Warp does not run on TPUs"
    if not os.environ.get("MUJOCO_GL"):
        left_out["opengl"] = "MUJOCO_GL is not set"
    found = [name for name in ("ours", "warp", "opengl") if name in wanted and name not in left_out]
    return found + ["opengl_4"] * ("opengl" in found), {
        name: reason for name, reason in left_out.items() if name in wanted
    }


def set_up_warp(folder: str) -> None:
    """Makes Warp compile its kernels again, into `folder`, and print only errors."""
    warp = importlib.import_module("warp")

    warp.config.log_level = warp.LOG_ERROR
    warp.config.kernel_cache_dir = folder


LABELS = {"ours": "ours", "warp": "Warp", "opengl": "OpenGL", "opengl_4": "OpenGL, 4 samples"}


def table_header(available: list[str]) -> list[str]:
    """Returns the first two lines of the table."""
    rates = [f"{LABELS[name]}, frames/s (slowest - fastest)" for name in available]
    over = [f"ours / {LABELS[name]}" for name in available if name != "ours"]
    compiles = [f"{LABELS[name]}, compile s" for name in available if name in ("ours", "warp")]
    columns = ["pixels", "episodes x frames", *rates, *over, *compiles]
    return [f"| {' | '.join(columns)} |", "| " + " | ".join(["---"] * len(columns)) + " |"]


def table_row(result: dict[str, Any], available: list[str]) -> str:
    """Returns the line of one size and batch."""
    batch, timings = result["batch"], result["timings"]
    over = [f"{result['ratios'][n]:.3g}" if n in result["ratios"] else "" for n in available if n != "ours"]
    compiles = [timings[name] for name in available if name in ("ours", "warp")]
    cells = [
        str(batch.size),
        f"{batch.episodes} x {batch.frames}",
        *(_rate(timings[name]) for name in available),
        *over,
        *("" if timing.note else f"{timing.compile_s:.1f}" for timing in compiles),
    ]
    return f"| {' | '.join(cells)} |"


def _rate(timing: Timing) -> str:
    if timing.note:
        return timing.note
    rates = (timing.frames_per_s, *(timing.pictures / seconds for seconds in (max(timing.run_s), min(timing.run_s))))
    median, slowest, fastest = (f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in rates)
    return f"{median} ({slowest} - {fastest})"


def report(options: Options) -> dict[str, Any]:
    """Times all renderers and prints each row when it is done. Returns the result."""
    available, left_out = find_renderers(options.renderers)
    device = jax.devices()[0]
    machine = f"{device.device_kind} ({device.platform}), {os.cpu_count()} CPU cores, jax {jax.__version__}"
    env, params = envs.make("drawer-close", max_steps=EPISODE_LENGTH)
    subject = Subject(env, expert_poses(env, params, EPISODE_LENGTH), options)
    print(f"{machine}, {options.samples} sample(s) per pixel", *(f"no {k}: {v}" for k, v in left_out.items()), sep="; ")
    print("", *table_header(available), sep="\n", flush=True)
    results = []
    for result in time_all(options, subject, available):
        print(table_row(result, available), flush=True)
        results.append(result)
    return {
        "machine": machine,
        "left_out": left_out,
        "samples": options.samples,
        "shadows": options.shadows,
        "micro_batch": options.micro_batch,
        "rows": [_as_json(result) for result in results],
    }


def _as_json(result: dict[str, Any]) -> dict[str, Any]:
    timings = {name: dataclasses.asdict(timing) for name, timing in result["timings"].items()}
    return {**dataclasses.asdict(result["batch"]), "timings": timings, "ours_over": result["ratios"]}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    disable_compilation_cache()
    with tempfile.TemporaryDirectory() as folder:
        if "warp" in find_renderers(options.renderers)[0]:
            set_up_warp(folder)
        result = report(options)
    save(result, options.out)


if __name__ == "__main__":
    main()
