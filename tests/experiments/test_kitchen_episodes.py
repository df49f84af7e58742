"""What the bundled encoder learns from the Kitchen: behaviours and progress. Oracles: experts, and numbers by hand."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.small_encoder.behaviours import Behaviours
from experiments.small_encoder.kitchen import (
    NEAR,
    WORKSPACE,
    hovering_script,
    make_motions,
    progress_of,
)
from rcjax import envs
from rcjax.envs.kitchen.elements import INIT_QPOS

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def slide():
    env, _ = envs.make("kitchen-slide", backend="c", seeds=range(1))
    return env


def episode(env, slide_at, tips_at):
    """Returns a run of one episode of 8 steps: the slide's position, and the distance of both tips from its handle."""
    obs = np.tile(np.concatenate([INIT_QPOS, env.goal_qpos]), (8, 1, 1))
    obs[:, 0, 19] = slide_at
    pos = np.zeros((8, 1, env.mj_model.ngeom, 3))
    left, right = env.fingertip_geoms
    pos[:, 0, left, 0], pos[:, 0, right, 1] = tips_at, 9.0
    return SimpleNamespace(obs=obs, poses=SimpleNamespace(pos=pos))


LAST = [0] * 6  # and then the last quarter of an episode


@pytest.mark.parametrize(
    "slide_at, tips_at, expected",
    [
        (0, 0.65, 0),
        (0, [0.65] * 6 + [0.4, 0.4], 0.5 * 0.4 * 0.5),  # half of the way to where they touch, 15 cm away
        (0, [0.65] * 6 + [0.1, 0.1], 0.5 * 0.4),
        ([*LAST, 0.035, 0.035], 0.65, 0.5 * 0.6 * 0.5),  # half of the way to 0.3 from the goal, which is at 0.37
        ([*LAST, 0.07, 0.07], [0.65] * 6 + [0.1, 0.1], 0.5),
    ],
)
def test_progress_of_a_failure_is_how_near_fingers_and_slide_came(slide, slide_at, tips_at, expected):
    run = episode(slide, slide_at, tips_at)
    np.testing.assert_allclose(progress_of(slide, run, np.array([False])), [expected], atol=1e-6)
    np.testing.assert_allclose(progress_of(slide, run, np.array([True])), [1])


def test_behaviours_follow_the_tasks_expert_another_one_or_none(slide):
    """Oracle: the expert, which keeps how far it has come. A sibling goes elsewhere."""
    obs = np.tile(np.concatenate([INIT_QPOS, slide.goal_qpos]), (4, 1))
    kinds = np.array(["expert", "expert", "sibling", "hovering"])
    policy = Behaviours(kinds, np.random.default_rng(0), slide.num_actions, functools.partial(make_motions, slide))
    expert = slide.expert()
    for _ in range(30):
        actions = policy(obs)
        np.testing.assert_array_equal(actions[:2], expert(obs)[:2])
        assert actions.shape == (4, 7) and np.isfinite(actions).all()
    for other in actions[2:]:
        assert np.abs(other - expert(obs)[0]).max() > 0.5


def test_a_hovering_hand_goes_to_what_the_task_is_about_half_of_the_time():
    target, random = np.array([-0.1, 0.6, 2.6]), np.random.default_rng(0)
    waypoints = [waypoint for _ in range(300) for waypoint in hovering_script(target, random).waypoints]
    places = np.array([waypoint.pos for waypoint in waypoints])
    close = np.linalg.norm(places - target, axis=1) < 3 * NEAR
    assert 0.45 < close.mean() < 0.65
    lowest, highest = WORKSPACE
    assert ((places[~close] > lowest - 3 * NEAR) & (places[~close] < highest + 3 * NEAR)).all()
    assert abs(np.array([waypoint.spin for waypoint in waypoints])).max() <= 1
