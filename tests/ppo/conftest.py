"""Results of Stable-Baselines3 for the same data: recorded, or (marked `parity`) computed during the test."""

import numpy as np
import pytest

from tests.generators import ppo as generator

_RECORDED = [pytest.param((name, "recorded"), id=name) for name in generator.CASES]
_LIVE = [pytest.param((name, "live"), id=f"{name}-live", marks=pytest.mark.parity) for name in generator.CASES]


@pytest.fixture(scope="session", params=_RECORDED + _LIVE)
def sb3(request):
    """A `PPOConfig` and the flat dict of arrays that `generator.run_sb3` describes."""
    name, source = request.param
    config = generator.CASES[name]
    if source == "live":
        pytest.importorskip("torch")
        pytest.importorskip("stable_baselines3")
        return config, generator.run_sb3(config)
    with np.load(generator.RECORDED) as file:
        return config, {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
