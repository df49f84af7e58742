"""The search for the Kitchen's experts: how it judges episodes, and that it finds what it is shown."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import kitchen_experts
from experiments.kitchen_experts import SOLVED, Command, first_guess, rounded, score, search
from rcjax import envs
from rcjax.envs.kitchen.elements import INIT_QPOS
from rcjax.envs.kitchen.experts import FOUND, expert_script

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def light():
    env, _ = envs.make("kitchen-light", backend="c", seeds=range(1))
    return env


def test_better_episodes_have_higher_scores(light):
    """In this order: nothing moved, near, nearer; moved, moved farther; solved, solved earlier, solved at the end."""
    n, left, right = 8, *light.fingertip_geoms
    obs = np.tile(INIT_QPOS, (128, n, 1))
    pos = np.ones((128, n, light.mj_model.ngeom, 3))
    pos[:, :, light.handle_geom] = 0
    pos[:, :, [left, right], :] = 1.0
    pos[64, 1, right], pos[64, 2, left] = 0.3, 0.1
    obs[64:, 3, 17], obs[64:, 4, 17] = -0.1, -0.2
    for episode, start, stop in ((5, 60, 70), (6, 50, 60), (7, 90, 128)):
        obs[start:stop, episode, 17] = -0.69
    success = np.abs(obs[..., 17] + 0.69) < 0.3
    scores = score(light, SimpleNamespace(obs=obs, success=success, poses=SimpleNamespace(pos=pos)))
    assert (np.diff(scores) > 0).all()
    assert (scores >= SOLVED).tolist() == [False] * 5 + [True] * 3


def test_found_scripts_are_rounded_and_have_whole_steps():
    rows = rounded(first_guess("kitchen-hinge") + 0.01234)
    assert rows[0].tolist() == [-0.588, 0.372, 2.312, 0.012, 0.012, 0.012, 12.0]


def test_what_is_known_to_solve_a_task_is_found_and_written(tmp_path, monkeypatch):
    """The search starts at the script that the package has, and stays with it, or with a better one."""
    found = tmp_path / "found.json"
    found.write_text('{"kitchen-hinge": {"ee": []}}')
    script = expert_script("kitchen-hinge", "ee").waypoints
    rows = np.array([[*waypoint.pos, *waypoint.spin, waypoint.patience] for waypoint in script])
    monkeypatch.setattr(kitchen_experts, "FOUND", found)
    monkeypatch.setattr(kitchen_experts, "first_guess", lambda task: rows)
    monkeypatch.setattr(kitchen_experts, "SPREAD", np.full(7, 1e-4))
    search(Command("kitchen-hinge", rounds=1, scripts=6))
    assert "kitchen-hinge" in found.read_text() and found.read_text() != FOUND.read_text()
    assert str(rows[0, 0]) in found.read_text()


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"--task='kitchen-kettle'.*kitchen-hinge"):
        search(Command("kitchen-kettle"))
    with pytest.raises(ValueError, match="--scripts=2"):
        search(Command("kitchen-hinge", scripts=2))
