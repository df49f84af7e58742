"""What is refused before a program is compiled."""

import os

import jax
import pytest

from rcjax.program import SAFE_BATCH, _refuse_deadlock

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are counted otherwise here")


@pytest.mark.parametrize(
    ("devices", "environments", "cores", "jax_version", "backend", "refused"),
    [
        (2, SAFE_BATCH + 1, 2, (0, 10, 2), "cpu", True),
        (8, 512, 2, (0, 10, 2), "cpu", True),
        (2, SAFE_BATCH, 2, (0, 10, 2), "cpu", False),  # small batches are not split
        (1, 4096, 1, (0, 10, 2), "cpu", False),  # one factorisation at a time
        (2, 512, 3, (0, 10, 2), "cpu", False),  # a thread is left for the parts of the batch
        (2, 512, 2, (0, 11, 0), "cpu", False),
        (2, 512, 2, (0, 10, 2), "tpu", False),
    ],
)
def test_cpu_devices_whose_physics_can_deadlock_are_refused(
    monkeypatch, devices, environments, cores, jax_version, backend, refused
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(jax, "__version_info__", jax_version)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    if not refused:
        _refuse_deadlock(devices, environments)
        return
    with pytest.raises(ValueError, match="use --devices 1, at most 64 environments a device, or JAX ") as error:
        _refuse_deadlock(devices, environments)
    assert "\n" not in str(error.value)
    assert f"{devices} CPU devices with {environments} environments each" in str(error.value)
