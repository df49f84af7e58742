"""Where results go."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def save(result: Any, out: Path | None) -> None:
    """Write `result` as JSON, if a file was asked for."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=2) + "\n")


def machine() -> dict[str, str]:
    """What the numbers hold for."""
    device = jax.devices()[0]
    packages = ("jax", "mujoco", "mujoco-mjx", "metaworld")
    return {"device": device.device_kind, "platform": device.platform} | {name: version(name) for name in packages}
