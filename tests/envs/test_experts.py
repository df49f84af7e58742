"""Metaworld's own expert policies in our scenes. Oracle: the official environment, where they succeed.

C MuJoCo steps the scenes here, as it needs no compilation; `test_physics.py` compares MJX with C MuJoCo, and
`python -m benchmarks.experts` runs all fifty on MJX.
"""

import numpy as np
import pytest

from rcjax import envs
from rcjax.envs.experts import _compiled, run_expert, run_policy
from tests import toy

SEEDS, STEPS = 4, 200
SAMPLE = ("drawer-close", "door-open", "pick-place")
OTHERS = ("handle-press", "plate-slide", "window-open", *(task for task in envs.PAPER_TASKS if task not in SAMPLE))


@pytest.mark.parametrize("task", [*SAMPLE, *(pytest.param(task, marks=pytest.mark.slow) for task in OTHERS)])
def test_expert_succeeds(task):
    """All of these succeed in 20 of 20 official episodes within 500 steps; door-open in 18."""
    env, params = envs.make(task, seeds=range(SEEDS), goal_hidden=False, backend="c")
    run = run_expert(env, params, range(SEEDS), STEPS)
    assert run.success.any(0).sum() >= SEEDS - 1
    assert (run.success.argmax(0)[run.success.any(0)] > 20).all()  # none was successful from the beginning


def test_a_step_is_compiled_once():
    """Reset states and states after steps are placed alike on the device; two programs would compile twice as long."""

    def simulate(model, state, ctrl, **options):
        next_state = toy.glide(model, state, ctrl, **options)
        return next_state.replace(qvel=next_state.qvel + model.body_mass[1])  # it reads the model, as MJX does

    with toy.installed(simulate=simulate):
        env, params = envs.make("drawer-close", seeds=range(2))
        run_policy(env, params, lambda obs: np.ones((2, 4)), range(2), 3)
        assert _compiled(env)[1]._cache_size() == 1
