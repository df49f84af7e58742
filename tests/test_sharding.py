"""The iteration with its environments sharded over devices."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


@pytest.mark.slow
def test_two_devices_give_the_iteration_of_one():
    """Oracle: the same program without a mesh. Two virtual CPU devices, so in a process of its own."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "tests.sharded_iteration"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    one, two = rows["1"], rows["2"]
    assert (one["devices"], two["devices"]) == (1, 2)
    # float32 S3D and physics in batches of another size
    np.testing.assert_allclose(two["video_reward"], one["video_reward"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(two["log_std"], one["log_std"], atol=1e-4)
    assert two["true_return"] == pytest.approx(one["true_return"], rel=1e-3, abs=1e-4)
