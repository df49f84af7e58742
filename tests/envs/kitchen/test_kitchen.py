"""The Kitchen's environments by themselves: controls, goals, rewards, scenes, and refusals."""

import gymnax
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rcjax import envs, world
from rcjax.config import VideoConfig
from rcjax.envs.brax_adapter import BraxEnv
from rcjax.envs.experts import run_expert
from rcjax.envs.kitchen import rotations, scene
from rcjax.envs.kitchen.elements import ELEMENTS, INIT_QPOS
from rcjax.envs.mjx_env import NoExpertError

pytest.importorskip("gymnasium_robotics")
KEY = jax.random.key(0)


def make(task="kitchen-kettle", **options):
    return envs.make(task, backend="c", seeds=range(2), **options)


@pytest.fixture(scope="module")
def kettle():
    """The environment, its parameters, the state after a reset, and a compiled step."""
    env, params = make()
    return env, params, env.reset_env_at(0, params)[1], jax.jit(env.step_env)


def steps(env_and_more, action, n):
    env, params, state, step = env_and_more
    for _ in range(n):
        _, state, _, _, _ = step(KEY, state, np.float32(action), params)
    return env, state


# Controls.


def test_euler_angles_are_those_of_scipy():
    draw = np.random.default_rng(0)
    for quat in draw.standard_normal((20, 4)):
        quat /= np.linalg.norm(quat)
        angles = np.asarray(rotations.euler_of(quat))
        turned = Rotation.from_euler("ZYZ", angles)  # about the axes of the body
        assert (turned * Rotation.from_quat(quat, scalar_first=True).inv()).magnitude() < 1e-5
        np.testing.assert_allclose(rotations.quat_of(angles), quat, atol=1e-5)  # the sign, too


@pytest.mark.parametrize("axis, direction", [(0, 1), (1, 1), (2, 1), (0, -1)])
def test_the_arms_end_goes_where_it_is_led(kettle, axis, direction):
    """In the release, the first steps at full action are 6 to 7 cm each."""
    env, _, before, _ = kettle
    action = np.zeros(7)
    action[axis] = direction
    _, after = steps(kettle, action, 3)
    moved = np.asarray(after.physics.poses.body_pos[env._end] - before.physics.poses.body_pos[env._end])
    assert 0.12 < direction * moved[axis] < 0.25
    assert np.abs(np.delete(moved, axis)).max() < 0.04


def test_the_arms_end_turns_towards_the_asked_angles(kettle):
    """Each axis, compared with doing nothing: by a share of the way in each physics step, so not all of it at once."""
    env, _, before, _ = kettle

    def turned(state):
        return Rotation.from_quat(np.asarray(state.physics.poses.body_quat[env._end]), scalar_first=True)

    still = turned(steps(kettle, np.zeros(7), 3)[1])
    for axis in range(3):
        action = np.zeros(7)
        action[3 + axis] = 0.5
        _, ctrl = env.control(before.physics, np.float32(action))
        asked = Rotation.from_quat(np.asarray(ctrl[-4:]), scalar_first=True)
        then = turned(steps(kettle, action, 3)[1])
        left, without, whole = ((each.inv() * asked).magnitude() for each in (then, still, turned(before)))
        assert 0.2 < whole < 0.51 and 0.02 * whole < without - left < 0.6 * whole


def test_one_finger_opens_while_the_other_closes(kettle):
    for action, (left, right) in ((1.0, (0.04, 0.0)), (-1.0, (0.0, 0.04))):
        _, after = steps(kettle, [0, 0, 0, 0, 0, 0, action], 12)
        np.testing.assert_allclose(after.physics.qpos[7:9], [left, right], atol=0.005)


def test_doing_nothing_costs_what_it_costs_in_the_release(kettle):
    """128 times the distance at the reset: -52.0 for the kettle. The arm's servos lift the hand meanwhile."""
    env, params, state, step = kettle
    total, start = 0.0, state.physics.poses.body_pos[env._end]
    for _ in range(128):
        obs, state, reward, done, info = step(KEY, state, np.zeros(7, np.float32), params)
        total += float(reward)
    assert total == pytest.approx(-52.0, abs=0.3)
    assert not done and info["diverged"] == 0 and np.abs(obs[9:30] - INIT_QPOS[9:]).max() < 0.01
    assert 0.1 < float(state.physics.poses.body_pos[env._end][2] - start[2]) < 0.4


@pytest.mark.parametrize("name, row", [("qpos", 19), ("qvel", 3)])
def test_diverged_physics_returns_to_the_start(kettle, name, row):
    """Of the slide's position, or of a joint's velocity."""
    _, params, start, step = kettle
    broken = start.physics.replace(**{name: getattr(start.physics, name).at[row].set(np.nan)})
    obs, after, reward, _, info = step(KEY, start.replace(physics=broken), np.zeros(7, np.float32), params)
    assert info["diverged"] == 1 and np.isfinite(reward)
    np.testing.assert_array_equal(after.physics.qpos, start.physics.qpos)
    np.testing.assert_allclose(obs[:30], INIT_QPOS, atol=1e-6)


def test_braxs_interface(kettle):
    env, params, state, step = kettle
    adapted, action = BraxEnv(env, params), np.full(7, 0.5, np.float32)
    assert (adapted.observation_size, adapted.action_size, adapted.dt) == (60, 7, pytest.approx(0.08))
    stepped = jax.jit(adapted.step)(adapted.reset(KEY), action)
    obs, _, reward, _, info = step(KEY, state, action, params)
    np.testing.assert_array_equal(stepped.obs, obs)
    assert stepped.reward == reward and set(stepped.metrics) == set(info)


# Goals and rewards.


def test_a_done_element_costs_nothing_more_and_counts_once():
    """Oracle: the definitions in NumPy, of the release's three elements, on states set by hand."""
    names, draw = ("microwave", "hinge cabinet", "slide cabinet"), np.random.default_rng(0)
    states = INIT_QPOS + 0.3 * draw.standard_normal((12, 30)) * (np.arange(30) >= 19)
    for kind in ("dense", "sparse"):
        env, params = make("kitchen-slide", goal="release", reward=kind)
        _, state = env.reset_env_at(0, params)
        done: set[str] = set()
        for i, qpos in enumerate(states):
            for name in names[: i // 3]:  # one after another reaches its goal
                qpos[list(ELEMENTS[name].indices)] = ELEMENTS[name].goal
            distance = {n: np.linalg.norm(qpos[list(ELEMENTS[n].indices)] - ELEMENTS[n].goal) for n in names}
            near = {name for name in names if distance[name] < 0.3}
            expected = -sum(distance[n] for n in names if n not in done) if kind == "dense" else len(near - done)
            done |= near
            moved = state.physics.replace(qpos=np.float32(qpos))
            _, state, reward, _, info = env.finish_step(state, moved, np.zeros(7), params)
            assert float(reward) == pytest.approx(expected, abs=1e-4)
            assert bool(info["success"]) == ("slide cabinet" in near)
        assert done == set(names)


def test_observations_say_the_goal_of_the_task_or_of_the_release():
    for goal, elements in (("task", ("kettle",)), ("release", ("microwave", "hinge cabinet", "slide cabinet"))):
        env, params = make(goal=goal)
        obs, _ = env.reset_env_at(1, params)
        expected = np.zeros(30)
        for name in elements:
            expected[list(ELEMENTS[name].indices)] = ELEMENTS[name].goal
        np.testing.assert_allclose(obs, [*INIT_QPOS, *expected], atol=1e-6)


@pytest.mark.parametrize("control, n_obs, n_actions", [("ee", 60, 7), ("joint", 59, 9)])
def test_spaces(control, n_obs, n_actions):
    env, params = gymnax.make("FrankaKitchen/slide-v1", control=control, backend="c")
    assert env.action_space(params).shape == (n_actions,) and env.observation_space(params).shape == (n_obs,)
    obs, _ = env.reset(KEY, params)
    assert obs.shape == (n_obs,)


@pytest.mark.parametrize("task", [
    task if task == "kitchen-hinge" else pytest.param(task, marks=pytest.mark.slow)
    for task in envs.KITCHEN
])  # fmt: skip
def test_the_script_succeeds_with_the_releases_controls(task):
    run = run_expert(*make(task), [0, 1])
    assert run.success.any(0).all() and (run.success.argmax(0) < 100).all()
    np.testing.assert_array_equal(run.action[:, 0], run.action[:, 1])  # everything is deterministic


# Scenes.


@pytest.mark.parametrize("part", scene.DETAILS)
def test_a_step_has_few_contacts_and_nothing_else_collides(part):
    model = scene.build_model(part, "ee")
    assert model.npair <= scene.MAX_CONTACTS
    assert not model.geom_contype.any() and not model.geom_conaffinity.any()


def test_masses_and_joints_are_the_officials():
    official, ours = scene.official_model(), scene.build_model("hinge", "ee")
    for joint in range(official.njnt):
        theirs, own = (model.body_mass[model.jnt_bodyid[joint]] for model in (official, ours))
        assert own == pytest.approx(theirs, rel=1e-6) or official.joint(joint).name == "kettle"  # fused with its root
    for name in (
        "jnt_range",
        "dof_damping",
        "dof_frictionloss",
        "dof_armature",
        "actuator_gainprm",
        "actuator_ctrlrange",
    ):
        np.testing.assert_array_equal(getattr(ours, name), getattr(official, name))
    assert ours.body("kettle").mass[0] == pytest.approx(0.88) and ours.nq == official.nq == len(INIT_QPOS)


def test_the_kettle_stands_still(kettle):
    _, after = steps(kettle, np.zeros(7), 60)
    assert np.abs(after.physics.qvel[22:28]).max() < 0.01
    assert np.abs(after.physics.qpos[23:26] - INIT_QPOS[23:26]).max() < 0.002


@pytest.mark.parametrize("task, given, shown", [("kitchen-hinge", None, 480), ("drawer-close", None, 250),
                                                ("kitchen-hinge", 300, 300)])  # fmt: skip
def test_frames_show_what_the_release_shows(monkeypatch, task, given, shown):
    """All of the Kitchen's view, where doors and knobs are near the edges, and the centre of Metaworld's."""
    monkeypatch.setattr(world, "build_scene", lambda model, view, **_: view)
    view = world.task_scene(make(task)[0], VideoConfig(view=given, size=64))
    assert view.crop == shown and view.size == 64


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_door_that_was_pushed_is_stopped_by_its_friction(speed):
    """With four iterations of the line search, C MuJoCo let it swing on for ever; with eight, it trembled."""
    env, params = make("kitchen-hinge")
    _, state = env.reset_env_at(0, params)
    joint = env.mj_model.joint("right_hinge_cabinet")
    angle, dof = int(joint.qposadr[0]), int(joint.dofadr[0])
    pushed = state.physics.replace(
        qpos=state.physics.qpos.at[angle].set(0.2), qvel=state.physics.qvel.at[dof].set(speed)
    )
    env_and_more = env, params, state.replace(physics=pushed), jax.jit(env.step_env)
    _, after = steps(env_and_more, np.zeros(7), 5)
    assert 0 < float(after.physics.qpos[angle]) - 0.2 < 0.06 and abs(float(after.physics.qvel[dof])) < 1e-4


# Refusals.


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="nearest are 'kitchen-kettle'"):
        envs.make("kitchen-kettel")
    with pytest.raises(ValueError, match="'kitchen-kettle-v3' has a suffix of Metaworld's tasks; use 'kitchen-kettle'"):
        envs.make("kitchen-kettle-v3")
    with pytest.raises(ValueError, match="backend='warp' has no body that leads another"):
        envs.make("kitchen-kettle", backend="warp")
    with pytest.raises(ValueError, match=r"control='velocity'.*ee.*joint"):
        envs.make("kitchen-kettle", control="velocity")
    with pytest.raises(NoExpertError, match="kitchen-light has no expert with control='joint', which kitchen-hinge, "):
        make("kitchen-light", control="joint")[0].expert()


def test_without_the_scenes_package_the_way_out_is_said(monkeypatch):
    monkeypatch.setattr(scene.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"gymnasium-robotics is not installed.*pip install 'rcjax\[kitchen\]'"):
        scene.build_model("kettle", "ee")
