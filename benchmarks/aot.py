"""Compiles the whole training iteration for a TPU or a GPU on a machine without one, and reports what it needs.

On a TPU, seeds and environments are sharded over all devices of the topology; the extra `tpu-aot` (libtpu) compiles,
and no TPU is ever looked for. Prints memory per device, FLOPs, the compiler's own estimate of cycles, and the
collectives. Loops are counted as often as they run, the rasteriser's as often as for the expert's poses. Of one GPU
(`--topology h100`, extra `gpu-aot` in an environment of its own), it prints memory, the kernels that each loop
launches, and the registers and spills of kernels.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before jax is used: plugins are there to compile only
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import dataclasses
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.experimental import topologies
from jax.sharding import NamedSharding

from benchmarks.gpu_target import GPUS, assembled_kernels, compiler_options, gpu_devices
from benchmarks.hlo import Program
from benchmarks.launches import count_launches
from benchmarks.report import plain_options, save
from benchmarks.stages import NETWORK, benchmark_config, random_inputs
from benchmarks.turns import iteration_trip_counts
from benchmarks.work import TripCounts, count_work
from rcjax import envs, target
from rcjax.config import TrainConfig
from rcjax.demonstration import expert_poses
from rcjax.devices import make_layout
from rcjax.envs import TASKS
from rcjax.episodes import train_mode
from rcjax.loop import TrainState, initial_state, iterate
from rcjax.micro_batch import choose_micro_batch
from rcjax.render import Scene, take_poses
from rcjax.types import GeomPoses
from rcjax.world import World, task_scene


@dataclasses.dataclass(frozen=True)
class Options:
    """Compile the iteration for a TPU topology or a GPU."""

    topology: str = "v5e:2x2"
    """The topology's name for the TPU compiler (v5e:2x2, v5e:2x4, v4:2x2x1, v5p:2x2x1, v6e:2x2), or the GPU h100."""
    seeds: int = 1
    """Number of policies trained in parallel."""
    n_envs: int = 64
    """Number of environments of each seed, over all devices."""
    micro_batch: int = 16
    """Number of episodes that a device renders and embeds at a time; a divisor of its number of episodes."""
    size: int = 250
    """Side of the frames, pixels."""
    frame_stride: int = 4
    """Control steps per kept frame: of 128 steps, 4 keeps 32 frames (the paper), 8 keeps 16 (`demo`)."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of S3D's activations."""
    effort: float = 0.0
    """Optimization effort of the compiler: -1.0 compiles faster but needs more memory, so judge memory at 0."""
    out: Path | None = None
    """Also write the result to this JSON file."""
    text: Path | None = None
    """Also write the compiled program to this text file."""


def tpu_devices(topology: str) -> np.ndarray:
    """Returns the devices of the topology.

    Raises ValueError if libtpu is not installed or does not know the topology.
    """
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:
        raise ValueError(
            f"no TPU topology {topology!r} ({str(error).splitlines()[0]}); is libtpu installed "
            "(pip install 'rcjax[tpu-aot]'), and the name one like v5e:2x2?"
        ) from error
    _lower_kernels_for(topology)
    return np.array(described.devices)


def _lower_kernels_for(topology: str) -> None:
    """Tells Pallas which TPU kernels are lowered for: it asks JAX's default device, which is a CPU here."""
    from jax._src.pallas.mosaic import tpu_info  # private to JAX, and not needed for GPUs

    name = topology.split(":")[0].upper()
    chip = {"V4": tpu_info.ChipVersion.TPU_V4, "V5P": tpu_info.ChipVersion.TPU_V5P,
            "V6E": tpu_info.ChipVersion.TPU_V6E}.get(name, tpu_info.ChipVersion.TPU_V5E)  # fmt: skip
    tpu_info.registry["cpu"] = lambda: tpu_info.get_tpu_info_for_chip(chip, 1)


def target_world(config: TrainConfig) -> World:
    """Returns the world as the target builds it, inside of `target.compiling_for`."""
    env = TASKS[config.env.task](max_steps=config.video.episode_length)  # not `envs.make`, which keeps environments
    params = env.make_params(env.build_reset_bank(config.env.train_seeds))
    return World(env, params, params, task_scene(env, config.video))


def abstract(tree: Any, sharding: NamedSharding) -> Any:
    """Returns the pytree with shapes, dtypes and this sharding in place of its arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), _dtype(x), sharding=sharding), tree)


def _dtype(x: Any) -> Any:
    return x.dtype if isinstance(x, jax.Array) else jnp.result_type(x)


def compile_iteration(options: Options) -> dict[str, Any]:
    """Compiles the iteration and returns the options and what the program needs.

    Raises ValueError for a topology that is unknown or cannot be compiled for.
    """
    is_gpu = options.topology in GPUS
    devices = gpu_devices(options.topology) if is_gpu else tpu_devices(options.topology)
    with target.compiling_for("gpu" if is_gpu else "tpu"):
        return _compile_for(devices, options)


def _compile_for(devices: np.ndarray, options: Options) -> dict[str, Any]:
    config = benchmark_config(options.n_envs, options.micro_batch, options.size, options.frame_stride, options.dtype)
    config = dataclasses.replace(config, seeds=options.seeds)
    layout = make_layout(config.seeds, config.n_envs, devices.ravel().tolist())
    micro_batch = choose_micro_batch(options.micro_batch, config.seeds * config.n_envs // devices.size, config.video)
    world = target_world(config)
    state, others = initial_state(config, world.env), (random_inputs(config, world), train_mode(config))
    state = TrainState(
        ppo=abstract(state.ppo, layout.by_seed),
        reward=None,
        selected=abstract(state.selected, layout.by_seed),
        key=abstract(state.key, layout.by_seed),
        iteration=abstract(state.iteration, layout.replicated),
    )
    mesh = layout.mesh if devices.size > 1 else None
    function = functools.partial(
        iterate, env=world.env, network=NETWORK, config=config, micro_batch=micro_batch, mesh=mesh
    )

    started = time.perf_counter()
    lowered = jax.jit(function, donate_argnums=0).lower(state, *abstract(others, layout.replicated))
    traced = time.perf_counter()
    about = {
        "topology": options.topology,
        "devices": devices.size,
        "mesh": dict(layout.mesh.shape),
        "micro_batch": micro_batch,
        "jax": jax.__version__,
        "options": plain_options(options),
        "trace_s": traced - started,
    }
    if options.topology in GPUS:
        return about | judge_for_gpu(lowered, options)
    assert isinstance(world.scene, Scene)
    poses = expert_episodes(world.scene, config, micro_batch)
    turns = iteration_trip_counts(world.env, world.scene, jax.tree.map(lambda x: x[None], poses))
    return about | judge_for_tpu(lowered, turns, options)


def judge_for_tpu(lowered: jax.stages.Lowered, turns: TripCounts, options: Options) -> dict[str, Any]:
    """Compiles for a TPU, and returns memory, work and collectives."""
    effort: dict[str, Any] = {"exec_time_optimization_effort": options.effort}
    compiled, needs = compile_program(lowered, effort, options)
    program = Program(compiled)
    work = count_work(program, turns)
    return needs | {
        "flops": work.matrix_flops + work.other_flops,
        "estimated_cycles": work.cycles,
        "collectives": [dataclasses.asdict(collective) for collective in program.collectives()],
    }


def judge_for_gpu(lowered: jax.stages.Lowered, options: Options) -> dict[str, Any]:
    """Compiles for a GPU, and returns memory, the launches of each loop, and the kernels' registers and spills."""
    with tempfile.TemporaryDirectory() as dump:
        compiled, needs = compile_program(lowered, compiler_options() | {"xla_dump_to": dump}, options)
        kernels = assembled_kernels(Path(dump))
    return needs | {
        "launches": [dataclasses.asdict(loop) for loop in count_launches(Program(compiled))],
        "kernels": len(kernels),
        "most_registers": [dataclasses.asdict(k) | {"occupancy": k.occupancy} for k in kernels[:10]],
        "spilling": [dataclasses.asdict(kernel) for kernel in kernels if kernel.spilled_bytes],
        "rasteriser": [
            dataclasses.asdict(k) | {"occupancy": k.occupancy} for k in kernels if "nearest_fragments" in k.name
        ],
    }


def compile_program(
    lowered: jax.stages.Lowered, compiler_options: dict[str, Any], options: Options
) -> tuple[str, dict[str, Any]]:
    """Returns the compiled program's text, the seconds that it took, and its memory."""
    started = time.perf_counter()
    compiled = lowered.compile(compiler_options=compiler_options)
    compile_s = time.perf_counter() - started
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None and text is not None  # the compilers of TPUs and GPUs provide both
    if options.text is not None:
        options.text.write_text(text)
    return text, {
        "compile_s": compile_s,
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "program_bytes": memory.generated_code_size_in_bytes,
    }


def expert_episodes(scene: Scene, config: TrainConfig, n: int) -> GeomPoses:
    """Returns the kept poses [n F G] of the expert's episode, repeated n times, for counting the rasteriser's loops.

    C MuJoCo steps it, as MJX would have to be compiled first, with the target's choices.
    """
    env, params = envs.make(config.env.task, seeds=range(8), max_steps=config.video.episode_length, backend="c")
    poses = expert_poses(env, params, config.video.episode_length)
    stride = config.video.frame_stride
    kept = jax.tree.map(lambda x: jnp.asarray(np.repeat(x[None, ::stride], n, axis=0)), poses)
    return take_poses(scene, kept)


def print_tpu(result: dict[str, Any]) -> None:
    tflop, mcycles = result["flops"] / 1e12, result["estimated_cycles"] / 1e6
    print(f"an iteration, per device: {tflop:,.2f} TFLOP, {mcycles:,.0f} Mcycles (an estimate that leaves gathers out)")
    print("collectives, and the size of their result on each device:")
    for collective in result["collectives"]:
        print(f"  {collective['kind']}, {collective['bytes'] / 2**20:,.3f} MiB: {collective['source']}")


def print_gpu(result: dict[str, Any]) -> None:
    print("kernels, copies and library calls that one turn of each loop launches, outside of the loops in it:")
    for loop in result["launches"]:
        trips = "a test on the host" if loop["trips"] is None else f"{loop['trips']} turns"
        indent = "  " * (1 + len(loop["path"]))
        print(f"{indent}{loop['launches']} in {loop['source'] or 'a loop'} ({trips})")
    print(f"{result['kernels']} kernels assembled; {len(result['spilling'])} spill registers")
    for kernel in result["spilling"] + result["rasteriser"]:
        print(f"  {kernel['name']}: {kernel['registers']} registers, {kernel['spilled_bytes']} bytes spilled")


def main() -> int:
    options = tyro.cli(Options, description=__doc__)
    try:
        result = compile_iteration(options)
    except ValueError as error:
        print(f"benchmarks.aot: error: {error}", file=sys.stderr)
        return 2
    mib = {k: v / 2**20 for k, v in result.items() if k.endswith("_bytes")}
    print(f"{result['topology']} ({result['devices']} devices), {options.seeds} x {options.n_envs} environments, "
          f"{options.size}x{options.size} frames, S3D in {options.dtype}")  # fmt: skip
    print(f"traced in {result['trace_s']:.0f} s, compiled in {result['compile_s']:.0f} s")
    print("memory per device: " + ", ".join(f"{k.removesuffix('_bytes')} {v:,.1f} MiB" for k, v in mib.items()))
    print_gpu(result) if options.topology in GPUS else print_tpu(result)
    save(result, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
