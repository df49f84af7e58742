"""The search for the Kitchen's experts: how it judges episodes, and that it finds what it is shown."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import kitchen_experts
from experiments.kitchen_experts import SOLVED, Command, Incumbent, first_guess, rounded, score, search
from rcjax import envs
from rcjax.envs.kitchen.elements import INIT_QPOS

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


def test_the_search_goes_on_from_the_script_that_the_package_has(tmp_path, monkeypatch):
    """It stays with it, or with a better one near it."""
    rows = kitchen_experts.found_rows("kitchen-hinge", "ee")
    assert rows is not None
    found = tmp_path / "found.json"
    found.write_text(json.dumps({"kitchen-hinge": {"ee": rows.tolist()}, "kitchen-light": {"joint": []}}))
    monkeypatch.setattr(kitchen_experts, "FOUND", found)
    monkeypatch.setattr(kitchen_experts, "SPREAD", np.full(7, 1e-4))
    search(Command("kitchen-hinge", rounds=1, scripts=6, episodes=1, noise=0.0))
    written = json.loads(found.read_text())
    np.testing.assert_allclose(written["kitchen-hinge"]["ee"], rows, atol=2e-3)
    assert written["kitchen-light"] == {"joint": []}


def test_a_lucky_round_does_not_replace_the_script_that_is_better_on_average():
    """Nor does a lucky round of the best script make its earlier ones forgotten."""
    drawn = np.arange(3.0)[:, None, None] * np.ones((3, 7, 7))
    best = Incumbent(drawn[0], [0.8, 0.9])
    kept = best.challenged(drawn, np.array([[1.2, 1.4], [0.9, 1.1], [0.0, 0.1]]))
    assert kept.rows[0, 0] == 0 and kept.scores == [0.8, 0.9, 1.2, 1.4] and kept.mean == pytest.approx(1.075)
    assert kept.solved == 0.5
    found = kept.challenged(drawn, np.array([[1.0, 1.0], [0.2, 0.3], [0.5, 3.5]]))
    assert found.rows[0, 0] == 2 and found.scores == [0.5, 3.5]


def test_a_script_that_rarely_solves_the_task_is_not_written(tmp_path, monkeypatch):
    found = tmp_path / "found.json"
    found.write_text("{}")
    monkeypatch.setattr(kitchen_experts, "FOUND", found)
    monkeypatch.setattr(kitchen_experts, "score", lambda _, episodes: np.tile([0.5, 0.6, 3.9], 6))
    with pytest.raises(ValueError, match=r"solved kitchen-light in 33% of its episodes, and at least 50% are asked"):
        search(Command("kitchen-light", rounds=1, scripts=6, episodes=3))
    assert found.read_text() == "{}"


def test_noise_is_added_to_actions():
    policy = kitchen_experts.with_noise(lambda obs: np.ones((len(obs), 2)), 0.1, np.random.default_rng(0))
    actions = policy(np.zeros((4000, 3)))
    assert actions.mean() == pytest.approx(1, abs=0.006) and actions.std() == pytest.approx(0.1, rel=0.06)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"--task='kitchen-kettle'.*kitchen-hinge"):
        search(Command("kitchen-kettle"))
    with pytest.raises(ValueError, match="--scripts=2"):
        search(Command("kitchen-hinge", scripts=2))
    with pytest.raises(ValueError, match="--task kitchen-hinge --control joint has a script that was written by hand"):
        search(Command("kitchen-hinge", control="joint"))
