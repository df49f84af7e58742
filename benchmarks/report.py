"""How programs are timed beside each other, and where results go."""

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
    """Write `result` as JSON, if a file was asked for."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")


def save_run(options: Any, **result: Any) -> None:
    """Write what a run measured, with its machine and options, to `options.out`, if a file was asked for."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in dataclasses.asdict(options).items()}
    save({"machine": machine(), "options": plain} | result, options.out)


def compile_afresh() -> None:
    """From here on nothing comes from the compilation cache: compile times are those of a first run."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # else a compilation during the imports has settled that it is used


def time_in_turns(programs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each program's runs, all of them once in every round, after a round that is not counted."""
    runs: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats + 1):
        for name, program in programs.items():
            begun = time.perf_counter()
            jax.block_until_ready(program())
            runs[name].append(time.perf_counter() - begun)
    return {name: seconds[1:] for name, seconds in runs.items()}


def machine() -> dict[str, str]:
    """What the numbers hold for."""
    device = jax.devices()[0]
    packages = ("jax", "mujoco", "mujoco-mjx", "metaworld")
    return {"device": device.device_kind, "platform": device.platform} | {name: version(name) for name in packages}
