"""Times S3D in rcjax, variants without each of its rewrites, and PyTorch's S3D, on the same weights and clips.

The implementations take turns. Clips are uint8 on the device, and embeddings are compared before anything is timed.
PyTorch runs as in the release, then with channels last, and then also compiled. The dtype is float32 on a CPU and
bfloat16 on a GPU. The extra `parity` is needed; on a CPU, `torch.compile` also needs a C++ compiler (`--no-compiled`
skips it).
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leaves GPU memory for PyTorch

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from jax.typing import DTypeLike

from benchmarks import peaks, report
from benchmarks.torch_s3d import S3D, calibrate_batch_norm, channels_first
from rcjax.encoders import Graph, Params
from rcjax.encoders.s3d import BLOCK_WIDTHS, embed_video, layers, params_from_torch, space_to_depth
from rcjax.encoders.s3d.video import VideoTower

Convolve: TypeAlias = Callable[[jax.Array, jax.Array, Graph], jax.Array]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the S3D benchmark."""

    size: int = 250
    """Side of the frames in pixels."""
    frames: int = 32
    """Frames of each clip."""
    batches: tuple[int, ...] = (1, 4)
    """Numbers of clips that are embedded together."""
    rewrites: bool = True
    """Also time rcjax with each of its rewrites undone."""
    compiled: bool = True
    """Also time `torch.compile`."""
    repeats: int = 5
    """Timed runs of each implementation, in turns, after one warm-up run."""
    out: Path | None = None
    """File for the result as JSON, in addition to the printed table."""


VARIANTS = (
    "spatial convolutions otherwise",
    "temporal convolutions otherwise",
    "pools otherwise",
    "1x1x1 convolutions apart",
)
N_MICRO_BATCHES = 4  # embedded one after another in each run
EAGER = "torch, channels last"
_SPLITS = {sum((b0, b1, b2)): (b0, b1, b2) for b0, b1, _, b2, _, _ in BLOCK_WIDTHS.values()}


def _convolve_unmerged(x: jax.Array, kernel: jax.Array, graph: Graph, *, convolve: Convolve) -> jax.Array:
    """Computes a block's merged 1x1x1 convolution as three separate ones."""
    if kernel.shape[:3] != (1, 1, 1) or kernel.shape[-1] not in _SPLITS:
        return convolve(x, kernel, graph)
    b0, b1, _ = _SPLITS[kernel.shape[-1]]
    parts = jnp.split(kernel, [b0, b0 + b1], axis=-1)
    # Without the barrier, XLA could merge them again.
    return jnp.concatenate([jax.lax.optimization_barrier(convolve(x, part, graph)) for part in parts], axis=-1)


def _convolve_with_other_graph(
    x: jax.Array, kernel: jax.Array, graph: Graph, *, convolve: Convolve, temporal: bool
) -> jax.Array:
    """Computes convolutions over time (or all others) with the other graph."""
    is_temporal = kernel.shape[0] > 1 and kernel.shape[1] == 1
    return convolve(x, kernel, _other_graph(graph) if is_temporal == temporal else graph)


def _other_graph(graph: Graph) -> Graph:
    return "native" if layers.resolve_graph(graph) == "separable" else "separable"


@contextlib.contextmanager
def variant_applied(variant: str | None) -> Iterator[None]:
    """While S3D is traced in this context, a rewrite is undone, or applied if this backend does not use it."""
    convolve, max_pool = layers.convolve, layers.max_pool
    replacements = {
        "spatial convolutions otherwise": {
            "convolve": functools.partial(_convolve_with_other_graph, convolve=convolve, temporal=False)
        },
        "temporal convolutions otherwise": {
            "convolve": functools.partial(_convolve_with_other_graph, convolve=convolve, temporal=True)
        },
        "pools otherwise": {
            "max_pool": lambda x, window, strides, graph: max_pool(x, window, strides, _other_graph(graph))
        },
        "1x1x1 convolutions apart": {"convolve": functools.partial(_convolve_unmerged, convolve=convolve)},
    }
    with mock.patch.multiple(layers, **replacements[variant]) if variant else contextlib.nullcontext():
        yield


def compile_rcjax(
    params: Params, clips: np.ndarray, dtype: DTypeLike, variant: str | None = None
) -> Callable[[], jax.Array]:
    """Compiles S3D over `N_MICRO_BATCHES` micro-batches in a loop, as in training, so that memory is allocated once."""
    device_clips = jnp.asarray(clips)

    def embed(params: Params, clips: jax.Array) -> jax.Array:
        def embed_one(shade: jax.Array) -> jax.Array:
            return embed_video(params, clips + shade, dtype=dtype)

        return jax.lax.map(embed_one, jnp.arange(N_MICRO_BATCHES, dtype=jnp.uint8))

    with variant_applied(variant):
        compiled = jax.jit(embed).lower(params, device_clips).compile()
    return lambda: jax.block_until_ready(compiled(params, device_clips))


def prepare_torch(
    model: S3D, clips: np.ndarray, layout: torch.memory_format, compiled: bool
) -> Callable[[], torch.Tensor]:
    """Returns a run of PyTorch's S3D over as many micro-batches; on a GPU in bfloat16, synchronized once at the end."""
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    # The types of `to` leave out `memory_format`.
    model = cast(Any, model.to(device, dtype)).to(memory_format=layout)
    device_clips = torch.tensor(clips, device=device)
    # `dynamic=False`: torch.compile would otherwise make the batch size dynamic when it sees a second one.
    forward: Any = torch.compile(_torch_forward, dynamic=False) if compiled else _torch_forward

    @torch.no_grad()
    def run() -> torch.Tensor:
        embeddings = [forward(model, device_clips + shade, dtype) for shade in range(N_MICRO_BATCHES)]
        if device == "cuda":
            torch.cuda.synchronize()
        return embeddings[0]

    return run


def _torch_forward(model: S3D, clips: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return model.video_layers(clips.movedim(-1, 1).contiguous().to(dtype) / 255)["embedding"]


@torch.no_grad()
def float32_embeddings(model: S3D, clips: np.ndarray) -> np.ndarray:
    """Returns the embeddings in float32, computed one clip at a time."""
    return torch.cat([_torch_forward(model, torch.tensor(clip)[None], torch.float32) for clip in clips]).numpy()


def random_clips(options: Options, n: int) -> np.ndarray:
    """Returns clips of random uniform blocks, coarse enough that S3D tells them apart."""
    coarse = np.random.default_rng(n).integers(0, 256, (n, options.frames // 2, 10, 10, 3), np.uint8)
    fine = coarse.repeat(2, axis=1).repeat(-(-options.size // 10), axis=2).repeat(-(-options.size // 10), axis=3)
    return np.ascontiguousarray(fine[:, :, : options.size, : options.size])


def random_model(options: Options) -> S3D:
    """Returns a random model whose batch norms are calibrated on clips of 64x64 pixels."""
    torch.manual_seed(0)
    model = S3D().eval()
    calibrate_batch_norm(model, channels_first(random_clips(dataclasses.replace(options, size=64), 4)))
    return model


def contestants(options: Options, model: S3D, clips: np.ndarray, dtype: DTypeLike) -> dict[str, Callable[[], Any]]:
    """Returns the functions to time, by the name of their row."""
    params = params_from_torch({name: x.numpy() for name, x in model.state_dict().items()})
    params = {"video": jax.tree.map(jnp.asarray, params["video"])}
    blocks = np.asarray(space_to_depth(clips))
    functions: dict[str, Callable[[], Any]] = {
        "ours": compile_rcjax(params, blocks, dtype),
        "ours, of frames": compile_rcjax(params, clips, dtype),
    }
    for variant in VARIANTS if options.rewrites else ():
        functions[f"ours, {variant}"] = compile_rcjax(params, blocks, dtype, variant)
    released, last = torch.contiguous_format, torch.channels_last_3d
    functions["torch, as released"] = prepare_torch(_copy_model(model), clips, released, compiled=False)
    functions[EAGER] = prepare_torch(_copy_model(model), clips, last, compiled=False)
    if options.compiled:
        functions["torch.compile, channels last"] = prepare_torch(_copy_model(model), clips, last, compiled=True)
    return functions


def _copy_model(model: S3D) -> S3D:
    other = S3D().eval()
    other.load_state_dict(model.state_dict())
    return other


def time_batch(options: Options, n: int, dtype: DTypeLike) -> list[dict[str, Any]]:
    """Returns a row for each contestant: seconds per clip, and the error relative to PyTorch in float32."""
    torch._dynamo.reset()
    model, clips = random_model(options), random_clips(options, n)
    expected = float32_embeddings(model, clips)
    functions = contestants(options, model, clips, dtype)
    embeddings = {
        name: np.asarray(run().float().cpu() if "torch" in name else run()[0]) for name, run in functions.items()
    }
    runs = report.time_interleaved(functions, options.repeats)
    return [
        {
            "batch": n,
            "contestant": name,
            "s_per_clip": statistics.median(runs[name]) / (n * N_MICRO_BATCHES),
            "runs_s": runs[name],
            "relative_error": float(np.linalg.norm(got - expected) / np.linalg.norm(expected)),
        }
        for name, got in embeddings.items()
    ]


def clip_flops(options: Options) -> float:
    """Returns the FLOPs of a clip (two per multiply-add), as XLA counts them before it optimises."""
    clip = jax.ShapeDtypeStruct((1, options.frames // 2, options.size // 2, options.size // 2, 24), jnp.float32)
    params = jax.eval_shape(VideoTower().init, jax.random.key(0), jnp.zeros((1, 1, 1, 1, 24)))["params"]
    with jax.default_device(jax.devices("cpu")[0]):  # only there does XLA count before it compiles
        cost = jax.jit(functools.partial(embed_video, graph="native")).lower({"video": params}, clip).cost_analysis()
    assert isinstance(cost, dict)
    return float(cost["flops"])


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    lines = [
        f"{jax.devices()[0].device_kind}, {result['dtype']}: {result['gflop_per_clip']:.1f} GFLOP a clip, "
        f"a large matrix product runs at {result['matrix_flops'] / 1e12:.2f} TFLOP/s",
        "",
        "| clips | | s/clip | speed over torch, channels last | of the matrix peak | relative error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    eager = {row["batch"]: row["s_per_clip"] for row in result["rows"] if row["contestant"] == EAGER}
    for row in result["rows"]:
        seconds = row["s_per_clip"]
        share = result["gflop_per_clip"] * 1e9 / seconds / result["matrix_flops"]
        lines.append(
            f"| {row['batch']} | {row['contestant']} | {seconds:.4f} | {eager[row['batch']] / seconds:.2f} "
            f"| {share:.0%} | {row['relative_error']:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    report.disable_compilation_cache()
    torch.backends.cudnn.benchmark = True  # XLA also chooses its convolutions by timing them
    dtype = jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    result = {
        "torch": torch.__version__,
        "dtype": str(dtype),
        "gflop_per_clip": clip_flops(options) / 1e9,
        "matrix_flops": peaks.matrix_flops(dtype),
        "rows": [row for n in options.batches for row in time_batch(options, n, dtype)],
    }
    print(table(result))
    report.save_run(options, **result)


if __name__ == "__main__":
    main()
