"""Frames a second of the renderer, of MJX-Warp and of MuJoCo's OpenGL renderer: same scene, poses and square, one run.

The scene is drawer-close, the poses those of the expert's episode. MJX-Warp is timed where the extra `warp` is
installed, `mujoco.Renderer` where MUJOCO_GL is set (to osmesa or egl). The runs of one row take turns, so that its
ratios hold on a machine that is not quiet. Every picture ends as uint8: ours and Warp's on the device, OpenGL's read
back one by one, as its interface has it.
"""

import contextlib
import copy
import dataclasses
import functools
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

from benchmarks.opengl import OpenGL
from benchmarks.report import compile_afresh, save
from rcjax import envs
from rcjax.demonstration import expert_poses
from rcjax.render import View, build_scene, build_warp_scene, render_frames, take_poses
from rcjax.types import GeomPoses

EPISODE_LENGTH = 128  # control steps
CPU_BATCHES, DEVICE_BATCHES = (1, 32, 128), (1, 32, 256, 1024, 4096)
OPENGL_PICTURES = 8  # a run; it draws one at a time, so that more would tell no more


@dataclasses.dataclass(frozen=True)
class Options:
    """Time the renderers."""

    sizes: tuple[int, ...] = (64, 112, 128, 250)
    """Sides of the pictures, pixels."""
    batches: tuple[int, ...] = ()
    """Pictures a call; by default 1, 32, 128 on a CPU and 1, 32, 256, 1024, 4096 elsewhere."""
    frames: int = 32
    """Frames an episode has: a batch is this many of each of its episodes, one episode where it is smaller."""
    renderers: tuple[Literal["ours", "warp", "opengl"], ...] = ("ours", "warp", "opengl")
    """What to time, of what there is."""
    samples: int = 1
    """Samples per pixel of ours and Warp's; OpenGL is timed without and with 4."""
    shadows: bool = False
    """Whether all of them cast shadows."""
    micro_batch: int | None = None
    """Episodes that ours draws at a time, as the loop does; all of a batch without it."""
    repeats: int = 5
    """Timed runs, after one that is not counted."""
    run_limit_s: float = 5.0
    """Leave out a batch of which one run would take longer, judging by the batch before."""
    budget_s: float = 400.0
    """Begin no other row after so many seconds."""
    out: Path | None = None
    """Also write the result here, as JSON."""

    def __post_init__(self):
        uneven = [batch for batch in self.batches if batch < 1 or batch % min(batch, self.frames)]
        if uneven or self.frames < 1:
            raise ValueError(
                f"batches {uneven or list(self.batches)} with frames={self.frames}; give batches below `frames`, or "
                "multiples of it."
            )


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one call draws."""

    size: int
    episodes: int
    frames: int

    @property
    def pictures(self) -> int:
        return self.episodes * self.frames


@dataclasses.dataclass(frozen=True)
class Timing:
    """One renderer on one batch. `compile_s` is the first run and all before it but making the scene, less one run.

    `run_s` holds every run, in the order of the rounds. With a `note`, it was not timed.
    """

    pictures: int = 0
    scene_s: float = 0.0
    compile_s: float = 0.0
    run_s: tuple[float, ...] = ()
    note: str = ""

    @property
    def frames_per_s(self) -> float:
        return self.pictures / statistics.median(self.run_s)


@dataclasses.dataclass(frozen=True)
class Ready:
    """A renderer that has drawn its first batch: a call of `run` draws it again."""

    run: Callable[[], Any]
    pictures: int
    scene_s: float
    first_s: float


@dataclasses.dataclass(frozen=True)
class Subject:
    """The task's scene, and the poses `[T G]` of the expert's episode."""

    env: Any
    poses: GeomPoses
    options: Options

    def batch(self, batch: Batch) -> GeomPoses:
        """Poses [N F G]: each episode begins a control step after the one before."""
        length = self.poses.pos.shape[0]
        steps = np.arange(batch.episodes)[:, None] + np.arange(batch.frames) * max(1, length // self.options.frames)
        return jax.tree.map(lambda x: np.asarray(x)[steps % length], self.poses)

    def scene_arguments(self, size: int) -> dict[str, Any]:
        return {
            "view": View(camera=self.env.camera, size=size),
            "episode_fixed_bodies": self.env.episode_fixed_bodies,
            "samples": self.options.samples,
            "shadows": self.options.shadows,
        }


def prepare_ours(batch: Batch, subject: Subject, scenes: dict[int, Any]) -> Ready:
    micro_batch = subject.options.micro_batch or batch.episodes

    def draw(scene, poses):
        if micro_batch >= batch.episodes:
            return render_frames(scene, poses)
        split = jax.tree.map(lambda x: x.reshape(-1, micro_batch, *x.shape[1:]), poses)
        return jax.lax.map(lambda some: render_frames(scene, some), split)

    begun = time.perf_counter()
    if batch.size not in scenes:  # it serves every batch
        scene = build_scene(subject.env.mj_model, **subject.scene_arguments(batch.size))
        scenes[batch.size] = jax.block_until_ready(scene)
    return _prepare_program(batch, draw, scenes[batch.size], subject, time.perf_counter() - begun)


def prepare_warp(batch: Batch, subject: Subject) -> Ready:
    begun = time.perf_counter()
    arguments = subject.scene_arguments(batch.size)
    scene = build_warp_scene(subject.env.mj_model, n_pictures=batch.pictures, **arguments)

    def draw(scene, poses):  # one of its own: what `jit` keeps of it, Warp's buffers among that, goes with it
        return render_frames(scene, poses)

    return _prepare_program(batch, draw, scene, subject, time.perf_counter() - begun)


def _prepare_program(batch: Batch, draw: Callable[..., Any], scene: Any, subject: Subject, scene_s: float) -> Ready:
    poses = jax.tree.map(jnp.asarray, take_poses(scene, subject.batch(batch)))
    begun = time.perf_counter()
    program = jax.jit(draw).lower(scene, poses).compile()
    jax.block_until_ready(program(scene, poses))
    first_s = time.perf_counter() - begun
    return Ready(lambda: jax.block_until_ready(program(scene, poses)), batch.pictures, scene_s, first_s)


def prepare_opengl(batch: Batch, subject: Subject, samples: int, stack: contextlib.ExitStack) -> Ready:
    poses = jax.tree.map(lambda x: x[0], subject.batch(Batch(batch.size, 1, OPENGL_PICTURES)))
    begun = time.perf_counter()
    model, view = square_model(subject.env.mj_model, subject.scene_arguments(batch.size)["view"])
    shadows = subject.options.shadows
    renderer = stack.enter_context(OpenGL(model, view, shadows=shadows, samples=samples, reflections=False))
    scene_s = time.perf_counter() - begun
    if max(1, renderer.samples) != samples:
        raise ValueError(f"OpenGL gives {renderer.samples} samples per pixel instead of {samples}.")
    renderer.draw(poses)
    return Ready(lambda: renderer.draw(poses), OPENGL_PICTURES, scene_s, time.perf_counter() - begun - scene_s)


def square_model(model: mujoco.MjModel, view: View) -> tuple[mujoco.MjModel, View]:
    """A model and view whose whole picture is the square of `view`, so that OpenGL draws nothing else."""
    square = copy.copy(model)
    camera = model.camera(view.camera).id
    half = view.crop / view.frame_height * np.tan(np.radians(model.cam_fovy[camera]) / 2)
    square.cam_fovy[camera] = np.degrees(2 * np.arctan(half))
    side = {name: view.size for name in ("frame_height", "frame_width", "crop")}
    return square, dataclasses.replace(view, **side)


def time_batch(
    batch: Batch, subject: Subject, scenes: dict[int, Any], available: list[str], before: dict[str, Timing]
) -> dict[str, Timing]:
    """Times all renderers on one batch, by turns; `before` is what came of the smaller batch."""
    with contextlib.ExitStack() as stack:
        prepare: dict[str, Callable[[], Ready]] = {
            "ours": functools.partial(prepare_ours, batch, subject, scenes),
            "warp": functools.partial(prepare_warp, batch, subject),
            "opengl": functools.partial(prepare_opengl, batch, subject, 1, stack),
            "opengl_4": functools.partial(prepare_opengl, batch, subject, 4, stack),
        }
        ready = {}
        for name in available:
            timed = None if name.startswith("opengl") else before.get(name)
            why_not = _too_long(batch, timed, subject.options.run_limit_s)
            ready[name] = Timing(note=why_not) if why_not else _try(prepare[name])
        runs: dict[str, list[float]] = {name: [] for name, one in ready.items() if isinstance(one, Ready)}
        for _ in range(subject.options.repeats):
            for name, seconds in runs.items():
                begun = time.perf_counter()
                ready[name].run()
                seconds.append(time.perf_counter() - begun)
    return {name: _timing(one, runs[name]) if isinstance(one, Ready) else one for name, one in ready.items()}


def _too_long(batch: Batch, before: Timing | None, limit_s: float) -> str:
    if before is None:
        return ""
    if before.note:
        return before.note
    return f"over {limit_s:g} s" if batch.pictures / before.frames_per_s > limit_s else ""


def _try(prepare: Callable[[], Ready]) -> Ready | Timing:
    """A batch that the device's memory cannot hold is noted, not raised."""
    try:
        return prepare()
    except RuntimeError as error:  # JAX's own is one, too
        if "RESOURCE_EXHAUSTED" not in str(error) and "allocate" not in str(error):
            raise
        return Timing(note="out of memory")


def _timing(ready: Ready, run_s: list[float]) -> Timing:
    compile_s = max(0.0, ready.first_s - statistics.median(run_s))
    return Timing(ready.pictures, ready.scene_s, compile_s, tuple(run_s))


def time_all(options: Options, subject: Subject, available: list[str]) -> Iterator[dict[str, Any]]:
    """A row per size and batch, small batches first, until the time is up."""
    begun = time.perf_counter()
    batches = options.batches or (CPU_BATCHES if jax.default_backend() == "cpu" else DEVICE_BATCHES)
    for size in options.sizes:
        scenes: dict[int, Any] = {}
        timings: dict[str, Timing] = {}
        for count in sorted(batches):
            frames = min(count, options.frames)
            batch = Batch(size, count // frames, frames)
            if time.perf_counter() - begun > options.budget_s:
                print(f"No time left for {count} pictures of {size}x{size}.", flush=True)
                continue
            timings = time_batch(batch, subject, scenes, available, timings)
            yield {"batch": batch, "timings": timings, "ratios": ratios(timings)}


def ratios(timings: dict[str, Timing]) -> dict[str, float]:
    """How many times as fast ours is: the median over the rounds."""
    ours = timings.get("ours")
    if ours is None or ours.note:
        return {}

    def over(other: Timing) -> float:
        rounds = zip(ours.run_s, other.run_s, strict=True)
        return statistics.median(ours.pictures / a * b / other.pictures for a, b in rounds)

    return {name: over(other) for name, other in timings.items() if name != "ours" and not other.note}


def find_renderers(wanted: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """Those of the wanted that there are, and why the others are left out."""
    why = {}
    if importlib.util.find_spec("warp") is None:
        why["warp"] = "the extra `warp` is not installed"
    elif jax.default_backend() == "tpu":
        why["warp"] = "Warp does not run on TPUs"
    if not os.environ.get("MUJOCO_GL"):
        why["opengl"] = "MUJOCO_GL is not set"
    found = [name for name in ("ours", "warp", "opengl") if name in wanted and name not in why]
    return found + ["opengl_4"] * ("opengl" in found), {name: reason for name, reason in why.items() if name in wanted}


def set_up_warp(folder: str) -> None:
    """Have Warp compile its kernels anew, into `folder`, and say little."""
    import warp  # pyright: ignore[reportMissingImports] (optional)

    warp.config.log_level = warp.LOG_ERROR
    warp.config.kernel_cache_dir = folder


LABELS = {"ours": "ours", "warp": "Warp", "opengl": "OpenGL", "opengl_4": "OpenGL, 4 samples"}


def heads(available: list[str]) -> list[str]:
    rates = [f"{LABELS[name]}, frames/s (slowest - fastest)" for name in available]
    over = [f"ours / {LABELS[name]}" for name in available if name != "ours"]
    compiles = [f"{LABELS[name]}, compile s" for name in available if name in ("ours", "warp")]
    columns = ["pixels", "episodes x frames", *rates, *over, *compiles]
    return [f"| {' | '.join(columns)} |", "| " + " | ".join(["---"] * len(columns)) + " |"]


def row(result: dict[str, Any], available: list[str]) -> str:
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
    """Times everything, printing each row as it comes."""
    available, why = find_renderers(options.renderers)
    device = jax.devices()[0]
    machine = f"{device.device_kind} ({device.platform}), {os.cpu_count()} CPU cores, jax {jax.__version__}"
    env, params = envs.make("drawer-close", max_steps=EPISODE_LENGTH)
    subject = Subject(env, expert_poses(env, params, EPISODE_LENGTH), options)
    print(f"{machine}, {options.samples} sample(s) per pixel", *(f"no {k}: {v}" for k, v in why.items()), sep="; ")
    print("", *heads(available), sep="\n", flush=True)
    results = []
    for result in time_all(options, subject, available):
        print(row(result, available), flush=True)
        results.append(result)
    return {
        "machine": machine,
        "left_out": why,
        "samples": options.samples,
        "shadows": options.shadows,
        "micro_batch": options.micro_batch,
        "rows": [_plain(result) for result in results],
    }


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    timings = {name: dataclasses.asdict(timing) for name, timing in result["timings"].items()}
    return {**dataclasses.asdict(result["batch"]), "timings": timings, "ours_over": result["ratios"]}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    compile_afresh()
    with tempfile.TemporaryDirectory() as folder:
        if "warp" in find_renderers(options.renderers)[0]:
            set_up_warp(folder)
        result = report(options)
    save(result, options.out)


if __name__ == "__main__":
    main()
