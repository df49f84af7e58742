"""Results of imitation for the same data: recorded, or (marked `parity`) computed during the test."""

import numpy as np
import pytest

from tests.generators import adversarial as generator

_RECORDED = [pytest.param((name, "recorded"), id=name) for name in generator.CASES]
_LIVE = [pytest.param((name, "live"), id=f"{name}-live", marks=pytest.mark.parity) for name in generator.CASES]


@pytest.fixture(scope="session", params=_RECORDED + _LIVE)
def imitation(request, tmp_path_factory):
    """A case of the generator, and the flat dict of arrays that `generator.run_imitation` describes."""
    name, source = request.param
    case = generator.CASES[name]
    if source == "live":
        pytest.importorskip("imitation")
        with pytest.MonkeyPatch.context() as patch:  # it writes logs into the current folder
            patch.chdir(tmp_path_factory.mktemp("imitation"))
            return case, generator.run_imitation(case)
    with np.load(generator.RECORDED) as file:
        return case, {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
