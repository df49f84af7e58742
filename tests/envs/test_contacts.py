"""Contacts of the hand in our scenes and in the official ones, both stepped by C MuJoCo. Oracle: Metaworld's own
scenes."""

import copy

import jax
import mujoco
import numpy as np
import pytest

from benchmarks import contacts
from rcjax.envs import TASKS, c_physics, physics

WALKS = 6


@pytest.fixture(scope="module", params=["faucet-open", "button-press-topdown", "coffee-push", "pick-place-wall"])
def walks(request) -> contacts.Walks:
    """Two walks of each kind: onto the table, to which official fingers stick, and into cases, walls and a machine."""
    return contacts.walk(TASKS[request.param](), WALKS)


def test_the_hand_stays_by_the_official_one(walks):
    """Within 30 mm in 95 % of the steps of all walks; with frictionless fingertips it was 130 mm."""
    assert np.quantile(walks.hand_distance, 0.95) < 0.03


def test_the_hand_stays_out_of_the_scenery(walks):
    """The overlap with official shapes is up to 25 mm, as spheres leave the corners of the gripper's base out. Official
    runs overlap by up to 8 mm, and a base that did not collide with scenery by up to 46."""
    assert walks.official_overlap.max() < 0.01
    assert walks.our_overlap.max() < 0.025
    assert (walks.our_overlap > contacts.DEEP).mean() < 0.02


def test_the_solver_keeps_up_with_a_wedged_lid():
    """Random walks that wedge the lid of box-close under the hand. Each substep with the scene's number of iterations
    is compared with one of a converged solver. With four iterations speeds were wrong by 8 and 38, and the lid was
    flung up by metres."""
    env = TASKS["box-close"]()
    model, bank = env.mj_model, jax.device_get(env.build_reset_bank([7, 23]))
    exact = copy.copy(model)
    exact.opt.iterations = exact.opt.ls_iterations = 50
    data, converged = mujoco.MjData(model), mujoco.MjData(exact)
    for i, walk in enumerate((7, 23)):
        c_physics.load_state(model, data, jax.tree.map(lambda leaf, i=i: leaf[i], bank.physics))
        for action in slow_walk(np.random.default_rng(walk), steps=300):
            contacts.control(env, data, action)
            for _ in range(env.frame_skip):
                mujoco.mj_copyData(converged, model, data)
                mujoco.mj_step(exact, converged)
                mujoco.mj_step(model, data)
                assert np.abs(data.qvel - converged.qvel).max() < 2.0
        assert (np.abs(data.qvel) < physics.speed_limits(model)).all()


def slow_walk(draw: np.random.Generator, steps: int) -> np.ndarray:
    action, actions = draw.normal(size=4), []
    for _ in range(steps):
        action = 0.95 * action + 0.31 * draw.normal(size=4)
        actions.append(np.clip(action, -1, 1).astype(np.float32))
    return np.stack(actions)


def test_speed_limits_tell_metres_from_radians():
    model = TASKS["box-close"]().mj_model
    limits = physics.speed_limits(model)
    lid = model.body("boxbodytop").dofadr[0]
    np.testing.assert_array_equal(limits[lid : lid + 6], [physics.MAX_SPEED] * 3 + [physics.MAX_SPIN] * 3)
    assert limits[model.joint("right_j0").dofadr[0]] == physics.MAX_SPIN
    assert limits[model.joint("r_close").dofadr[0]] == physics.MAX_SPEED
