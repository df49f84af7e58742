"""S3D's speed: ours, each of its rewrites undone, and PyTorch's, in turns on the same weights and clips.

Clips are uint8 on the device; embeddings are compared before anything is timed. PyTorch: as the original runs it,
then channels last, then also compiled. float32 on a CPU, bfloat16 on a GPU. Needs the extra `parity`; on a CPU
`torch.compile` needs a C++ compiler too (`--no-compiled` leaves it out).
"""

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants some of the GPU too

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro

from benchmarks import peaks, report
from benchmarks.torch_s3d import S3D, calibrate_batch_norm, channels_first
from rcjax.s3d import embed_video, layers, params_from_torch, space_to_depth
from rcjax.s3d.video import BLOCK_WIDTHS, VideoTower


@dataclasses.dataclass(frozen=True)
class Options:
    """Time S3D."""

    size: int = 250
    """Side of the frames, pixels."""
    frames: int = 32
    """Frames of a clip."""
    batches: tuple[int, ...] = (1, 4)
    """Clips embedded together."""
    rewrites: bool = True
    """Also time ours with one rewrite after the other undone."""
    compiled: bool = True
    """Also time `torch.compile`."""
    repeats: int = 5
    """Timed runs of each, in turns, after one that is not counted."""
    out: Path | None = None
    """Also write the result here, as JSON."""


CHANGES = (
    "spatial convolutions otherwise",
    "temporal convolutions otherwise",
    "pools otherwise",
    "1x1x1 convolutions apart",
)
IN_LOOP = 4  # micro-batches
EAGER = "torch, channels last"
_SPLITS = {sum((b0, b1, b2)): (b0, b1, b2) for b0, b1, _, b2, _, _ in BLOCK_WIDTHS.values()}


def _unmerged(x: jax.Array, kernel: jax.Array, graph: Any, *, convolve: Any) -> jax.Array:
    """A block's merged 1x1x1 convolutions as the three that they are."""
    if kernel.shape[:3] != (1, 1, 1) or kernel.shape[-1] not in _SPLITS:
        return convolve(x, kernel, graph)
    b0, b1, _ = _SPLITS[kernel.shape[-1]]
    parts = jnp.split(kernel, [b0, b0 + b1], axis=-1)
    # Without the barrier XLA would be free to merge them again.
    return jnp.concatenate([jax.lax.optimization_barrier(convolve(x, part, graph)) for part in parts], axis=-1)


def _otherwise(x: jax.Array, kernel: jax.Array, graph: Any, *, convolve: Any, temporal: bool) -> jax.Array:
    """Convolutions over time, or all others, by the other graph."""
    is_temporal = kernel.shape[0] > 1 and kernel.shape[1] == 1
    return convolve(x, kernel, _other(graph) if is_temporal == temporal else graph)


def _other(graph: layers.Graph) -> layers.Graph:
    return "native" if layers.resolve_graph(graph) == "cpu" else "cpu"


@contextlib.contextmanager
def changed(change: str | None) -> Iterator[None]:
    """While S3D is traced: the rewrite is undone, or made where this backend does without."""
    convolve, max_pool = layers.convolve, layers.max_pool
    swap = {
        "spatial convolutions otherwise": {
            "convolve": functools.partial(_otherwise, convolve=convolve, temporal=False)
        },
        "temporal convolutions otherwise": {
            "convolve": functools.partial(_otherwise, convolve=convolve, temporal=True)
        },
        "pools otherwise": {"max_pool": lambda x, window, strides, graph: max_pool(x, window, strides, _other(graph))},
        "1x1x1 convolutions apart": {"convolve": functools.partial(_unmerged, convolve=convolve)},
    }
    with mock.patch.multiple(layers, **swap[change]) if change else contextlib.nullcontext():
        yield


def ours(params: Any, clips: np.ndarray, dtype: Any, change: str | None = None) -> Callable[[], jax.Array]:
    """`IN_LOOP` micro-batches one after another, as in the iteration: memory is asked for once, not for each."""
    given = jnp.asarray(clips)

    def embed(params: Any, clips: jax.Array) -> jax.Array:
        def embed_one(shade: jax.Array) -> jax.Array:
            return embed_video(params, clips + shade, dtype=dtype)

        return jax.lax.map(embed_one, jnp.arange(IN_LOOP, dtype=jnp.uint8))

    with changed(change):
        compiled = jax.jit(embed).lower(params, given).compile()
    return lambda: jax.block_until_ready(compiled(params, given))


def theirs(model: S3D, clips: np.ndarray, layout: torch.memory_format, compiled: bool) -> Callable[[], torch.Tensor]:
    """As many micro-batches one after another as ours; on a GPU waited for once, all of it in bfloat16."""
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    model = model.to(device, dtype).to(memory_format=layout)
    given = torch.tensor(clips, device=device)
    # For this very batch size: compiled for a second one, it would be for any.
    forward: Any = torch.compile(_torch_forward, dynamic=False) if compiled else _torch_forward

    @torch.no_grad()
    def run() -> torch.Tensor:
        embeddings = [forward(model, given + shade, dtype) for shade in range(IN_LOOP)]
        if device == "cuda":
            torch.cuda.synchronize()
        return embeddings[0]

    return run


def _torch_forward(model: S3D, clips: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return model.video_layers(clips.movedim(-1, 1).contiguous().to(dtype) / 255)["embedding"]


@torch.no_grad()
def exact(model: S3D, clips: np.ndarray) -> np.ndarray:
    """The embeddings in float32, of one clip after another."""
    return torch.cat([_torch_forward(model, torch.tensor(clip)[None], torch.float32) for clip in clips]).numpy()


def random_clips(options: Options, n: int) -> np.ndarray:
    """Blocks of one colour each, so that clips differ in what S3D sees."""
    coarse = np.random.default_rng(n).integers(0, 256, (n, options.frames // 2, 10, 10, 3), np.uint8)
    fine = coarse.repeat(2, axis=1).repeat(-(-options.size // 10), axis=2).repeat(-(-options.size // 10), axis=3)
    return np.ascontiguousarray(fine[:, :, : options.size, : options.size])


def random_model(options: Options) -> S3D:
    torch.manual_seed(0)
    model = S3D().eval()
    calibrate_batch_norm(model, channels_first(random_clips(dataclasses.replace(options, size=64), 4)))
    return model


def contestants(options: Options, model: S3D, clips: np.ndarray, dtype: Any) -> dict[str, Callable[[], Any]]:
    params = params_from_torch({name: x.numpy() for name, x in model.state_dict().items()})
    params = {"video": jax.tree.map(jnp.asarray, params["video"])}
    blocks = np.asarray(space_to_depth(clips))
    these: dict[str, Callable[[], Any]] = {
        "ours": ours(params, blocks, dtype),
        "ours, of frames": ours(params, clips, dtype),
    }
    for change in CHANGES if options.rewrites else ():
        these[f"ours, {change}"] = ours(params, blocks, dtype, change)
    released, last = torch.contiguous_format, torch.channels_last_3d
    these["torch, as released"] = theirs(_copy(model), clips, released, compiled=False)
    these[EAGER] = theirs(_copy(model), clips, last, compiled=False)
    if options.compiled:
        these["torch.compile, channels last"] = theirs(_copy(model), clips, last, compiled=True)
    return these


def _copy(model: S3D) -> S3D:
    other = S3D().eval()
    other.load_state_dict(model.state_dict())
    return other


def time_batch(options: Options, n: int, dtype: Any) -> list[dict[str, Any]]:
    """A row for each contestant: seconds a clip, and how far its embeddings are from PyTorch's in float32."""
    torch._dynamo.reset()
    model, clips = random_model(options), random_clips(options, n)
    expected = exact(model, clips)
    these = contestants(options, model, clips, dtype)
    embeddings = {name: np.asarray(run().float().cpu() if "torch" in name else run()[0]) for name, run in these.items()}
    runs = report.time_in_turns(these, options.repeats)
    return [
        {
            "batch": n,
            "contestant": name,
            "s_per_clip": statistics.median(runs[name]) / (n * IN_LOOP),
            "runs_s": runs[name],
            "relative_error": float(np.linalg.norm(got - expected) / np.linalg.norm(expected)),
        }
        for name, got in embeddings.items()
    ]


def clip_flops(options: Options) -> float:
    """FLOPs of a clip, two a multiply-add, as XLA counts them before it optimises."""
    clip = jax.ShapeDtypeStruct((1, options.frames // 2, options.size // 2, options.size // 2, 24), jnp.float32)
    params = jax.eval_shape(VideoTower().init, jax.random.key(0), jnp.zeros((1, 1, 1, 1, 24)))["params"]
    cost = jax.jit(functools.partial(embed_video, graph="native")).lower({"video": params}, clip).cost_analysis()
    assert isinstance(cost, dict)
    return float(cost["flops"])


def table(result: dict[str, Any]) -> str:
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
    report.compile_afresh()
    torch.backends.cudnn.benchmark = True  # XLA picks its convolutions by timing them, too
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
