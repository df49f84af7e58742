"""What Stable-Baselines3 made of the same data: recorded, and (marked `parity`) computed on the spot."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location("record_ppo", pathlib.Path(__file__).parents[1] / "record_ppo.py")
record_ppo = importlib.util.module_from_spec(_spec)
sys.modules["record_ppo"] = record_ppo
_spec.loader.exec_module(record_ppo)

_RECORDED = [pytest.param((name, "recorded"), id=name) for name in record_ppo.CASES]
_LIVE = [pytest.param((name, "live"), id=f"{name}-live", marks=pytest.mark.parity) for name in record_ppo.CASES]


@pytest.fixture(scope="session", params=_RECORDED + _LIVE)
def sb3(request):
    """A `PPOConfig` and the flat dict of arrays that `record_ppo.run_sb3` describes."""
    name, source = request.param
    config = record_ppo.CASES[name]
    if source == "live":
        pytest.importorskip("torch")
        pytest.importorskip("stable_baselines3")
        return config, record_ppo.run_sb3(config)
    with np.load(record_ppo.RECORDED) as file:
        return config, {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
