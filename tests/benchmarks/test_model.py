"""The model of an iteration's time. Oracles: numbers by hand."""

import json

import pytest

from benchmarks import model
from benchmarks.model import Device, Line


def test_a_line_is_linear_between_and_beyond_its_points():
    line = Line((10, 20, 40), (1.0, 2.0, 3.0))
    assert [line(n) for n in (10, 15, 30, 40, 80)] == pytest.approx([1, 1.5, 2.5, 3, 5])


def test_an_iteration_is_the_sum_of_its_parts():
    device = Device("some", drawing=0.01, s3d=0.03, rest=Line((100, 200), (4.0, 5.0)))
    row = device.iteration(150)
    assert row["seconds"] == pytest.approx(4.5 + 1.5 + 4.5)
    assert row["env_steps_per_s"] == pytest.approx(128 * 150 / 10.5)
    assert row["rewards_per_s"] == pytest.approx(150 / 10.5)
    assert row["shares"] == pytest.approx({"physics and update": 4.5 / 10.5, "drawing": 1.5 / 10.5, "S3D": 4.5 / 10.5})


def test_a_tpus_line_goes_through_the_compilers_cycles(tmp_path, monkeypatch):
    """What the micro-batches take is taken from the whole, and the kernel, which the compiler leaves out, added."""
    monkeypatch.setattr(model, "RESULTS", tmp_path)
    for name, n_envs, cycles in (("few", 256, 3e9), ("many", 8192, 60e9)):
        result = {"options": {"seeds": 4, "n_envs": n_envs}, "devices": 8, "estimated_cycles": cycles}
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    rest = model.rest_cycles("few", 100e6), model.rest_cycles("many", 100e6)
    device = model.tpu("some", 1e9, rest, drawing=40e6, both=100e6)
    for n, cycles in ((128, 3e9), (4096, 60e9)):
        assert device.iteration(n)["seconds"] == pytest.approx((cycles + n * model.KERNEL_CYCLES) / 1e9)
    shares = device.iteration(4096)["shares"]
    assert shares["S3D"] / shares["drawing"] == pytest.approx(60 / (40 + 35.5))


def test_the_recorded_results_are_enough_for_every_device():
    for device in model.devices():
        slow, fast = device.iteration(1024), device.iteration(65536)
        assert 0 < slow["seconds"] < fast["seconds"]
        assert sum(fast["shares"].values()) == pytest.approx(1) and min(fast["shares"].values()) > 0
