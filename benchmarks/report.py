"""Where results go."""

import json
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


def compile_afresh() -> None:
    """From here on nothing comes from the compilation cache: compile times are those of a first run."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # else a compilation during the imports has settled that it is used


def machine() -> dict[str, str]:
    """What the numbers hold for."""
    device = jax.devices()[0]
    packages = ("jax", "mujoco", "mujoco-mjx", "metaworld")
    return {"device": device.device_kind, "platform": device.platform} | {name: version(name) for name in packages}
