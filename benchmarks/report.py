"""Times programs, and saves results with the machine that they were measured on."""

import dataclasses
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


def save(result: Any, out: Path | None) -> None:
    """Writes `result` as JSON to the file `out`, unless that is None."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")


def save_run(options: Any, **result: Any) -> None:
    """Writes the result of a run, with its machine and options, to the file `options.out`, unless that is None."""
    save({"machine": machine(), "options": plain_options(options)} | result, options.out)


def plain_options(options: Any) -> dict[str, Any]:
    """Returns the options as JSON has them, without paths, which say nothing about a result."""
    return {k: v for k, v in dataclasses.asdict(options).items() if not isinstance(v, Path)}


def disable_compilation_cache() -> None:
    """Switches JAX's compilation cache off, so that compile times are those of a first run."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # otherwise a compilation during imports has already enabled it


def time_interleaved(programs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of each program's runs. Every round runs all programs once; the first one is not counted."""
    runs: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats + 1):
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program())
            runs[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in runs.items()}


def machine() -> dict[str, str]:
    """Returns the device and the package versions that the numbers hold for."""
    device = jax.devices()[0]
    packages = ("jax", "mujoco", "mujoco-mjx", "metaworld")
    return {"device": device.device_kind, "platform": device.platform} | {name: version(name) for name in packages}
