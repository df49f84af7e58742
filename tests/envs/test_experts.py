"""Metaworld's own expert policies in our scenes. Oracle: the official environment, where they succeed.

C MuJoCo steps the scenes here, as nothing has to be compiled for it; `test_physics.py` holds MJX to C MuJoCo, and
`python -m benchmarks.experts` runs all fifty on MJX.
"""

import numpy as np
import pytest

from rcjax import envs
from rcjax.envs import native
from rcjax.envs.experts import _compiled, run_expert, run_policy
from tests import toy

SEEDS, STEPS = 4, 200
SAMPLE = (*envs.PAPER_TASKS, "handle-press", "pick-place", "plate-slide", "window-open")  # one of each kind of motion


@pytest.mark.parametrize("task", SAMPLE)
def test_expert_succeeds(task):
    """All of these succeed in 20 of 20 official episodes within 500 steps; door-open in 18."""
    env, params = envs.make(task, seeds=range(SEEDS), goal_hidden=False)
    run = run_expert(env, params, range(SEEDS), STEPS, native.c_step)
    assert run.success.any(0).sum() >= SEEDS - 1
    assert (run.success.argmax(0)[run.success.any(0)] > 20).all()  # none was there to begin with


def test_stepping_by_c_is_the_environments_step(drawer, expert_run):
    """The same seeds by MJX: the same successes, and hands and drawers within millimetres throughout."""
    env, params = drawer
    by_c = run_expert(env, params, range(3), 128, native.c_step)
    np.testing.assert_array_equal(by_c.success.any(0), expert_run.success[:, :3].any(0))
    np.testing.assert_allclose(by_c.obs[:, :, :7], expert_run.obs[:, :3, :7], atol=5e-3)  # 2.4 mm measured
    assert by_c.poses.pos.shape == (128, 3, env.mj_model.ngeom, 3)
    with pytest.raises(ValueError, match=r"0 \.\.\. 19"):
        run_expert(env, params, [20], 1, native.c_step)


def test_a_step_is_compiled_once(monkeypatch):
    """Starts and what steps lead to lie alike on the device; two programs would take twice as long to compile."""
    glide = toy.glide

    def simulate(model, state, ctrl, **options):
        moved = glide(model, state, ctrl, **options)
        return moved.replace(qvel=moved.qvel + model.body_mass[1])  # as MJX does, it reads the model

    monkeypatch.setattr(toy, "glide", simulate)
    toy.install(monkeypatch)
    env, params = envs.make("drawer-close", seeds=range(2))
    run_policy(env, params, lambda obs: np.ones((2, 4)), range(2), 3)
    assert _compiled(env)[1]._cache_size() == 1
