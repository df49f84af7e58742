"""The gymnax interface around the physics. Oracle: gymnax 1.0's own contract, and the values set in the tests."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.environment import Environment

from rcjax import envs
from rcjax.envs.brax_adapter import BraxEnv
from rcjax.types import GeomPoses


def keys(seed, n):
    return jax.random.split(jax.random.key(seed), n)


def test_is_a_gymnax_environment(drawer):
    env, params = drawer
    assert isinstance(env, Environment)
    assert env.name == "drawer-close"
    assert env.num_actions == 4
    assert env.action_space(params).shape == (4,)
    assert env.observation_space(params).shape == (39,)
    assert env.state_space(params).spaces["qpos"].shape == (10,)
    assert env.default_params.bank_size == 50
    assert env.default_params.max_steps_in_episode == 128
    assert env.prompt == "robot closing green drawer"
    assert env.mj_model.camera(env.camera).id >= 0
    assert env.episode_fixed_bodies == ("drawer", "goal")


def test_step_returns_gymnax_six_and_obs_are_in_the_space(motionless):
    env, params = motionless
    obs, state = env.reset(jax.random.key(0), params)
    assert env.observation_space(params).contains(obs)
    obs, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, jnp.zeros(4), params)
    assert env.observation_space(params).contains(obs)
    assert reward.shape == terminated.shape == truncated.shape == ()
    assert not terminated
    assert not truncated
    assert {
        "success",
        "diverged",
        "first_success",
        "obj_to_target",
        "terminated",
        "truncated",
        "final_observation",
    } <= set(info)
    assert state.time == 1
    np.testing.assert_array_equal(env.observe(jax.random.key(2), state, None, params), obs)


def test_episode_is_truncated_at_the_limit_and_resets(motionless):
    env, params = motionless
    reset = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))
    _, state = reset(keys(0, 3), params)
    state = state.replace(time=jnp.array([125, 126, 127], jnp.int32))
    up = jnp.tile(jnp.array([0.0, 0.0, 1.0, 0.0]), (3, 1))
    obs, state, _, terminated, truncated, info = step(keys(1, 3), state, up, params)
    np.testing.assert_array_equal(truncated, [False, False, True])
    assert not terminated.any()
    np.testing.assert_array_equal(state.time, [126, 127, 0])
    starts = np.asarray(params.bank.physics.mocap_pos)
    np.testing.assert_allclose(state.physics.mocap_pos[0, 0, 2], 0.21, atol=1e-6)  # moved 1 cm up from 0.2
    assert (np.asarray(state.physics.mocap_pos[2]) == starts).all((1, 2)).any()  # back at a reset state of the bank
    assert not np.array_equal(obs[2], info["final_observation"][2]) or np.array_equal(obs[2, :18], obs[2, 18:36])


def test_max_steps_option_reaches_the_limit(motionless):
    env, params = motionless
    _, state = env.reset(jax.random.key(0), params)
    shorter = params.replace(max_steps_in_episode=1)
    *_, truncated, _ = env.step(jax.random.key(1), state, jnp.zeros(4), shorter)
    assert truncated


def test_goal_is_shown_or_hidden(drawer):
    env, params = drawer
    shown, _ = envs.make("drawer-close", seeds=(0,), goal_hidden=False)
    _, state = env.reset_env_at(0, params)
    np.testing.assert_array_equal(env.get_obs(state)[36:], np.zeros(3))
    np.testing.assert_array_equal(shown.get_obs(state)[36:], state.task.target_pos)
    np.testing.assert_array_equal(env.obs_with_goal(state), shown.get_obs(state))
    np.testing.assert_array_equal(shown.get_obs(state)[:36], env.get_obs(state)[:36])


def test_previous_frame_follows_the_current(motionless):
    env, params = motionless
    _, state = env.reset_env_at(0, params)
    shifted = state.physics.poses.replace(body_pos=state.physics.poses.body_pos + 0.01)
    task = env.advance_task(state.task, shifted)
    np.testing.assert_array_equal(task.previous_frame, state.task.frame)
    np.testing.assert_allclose(task.frame[:3], state.task.frame[:3] + 0.01, atol=1e-6)


def test_hand_is_clipped_in_the_observation_but_not_in_the_state(motionless):
    env, params = motionless
    _, state = env.reset_env_at(0, params)
    far = state.replace(task=state.task.replace(frame=state.task.frame.at[1].set(2.0)))
    assert env.get_obs(far)[1] == np.float32(1.025)
    assert far.task.frame[1] == 2.0


def test_control_moves_the_mocap_by_a_centimetre_inside_its_box(drawer):
    env, params = drawer
    _, state = env.reset_env_at(0, params)
    driven, ctrl = env.control(state.physics, jnp.array([5.0, -0.5, 0.0, 0.3]))
    hand = env.mocap_id("mocap")
    np.testing.assert_allclose(driven.mocap_pos[hand] - state.physics.mocap_pos[hand], [0.01, -0.005, 0.0], atol=1e-7)
    np.testing.assert_array_equal(driven.mocap_quat[hand], [1, 0, 1, 0])
    np.testing.assert_allclose(ctrl, [0.3, -0.3])
    at_edge = state.physics.replace(mocap_pos=state.physics.mocap_pos.at[hand].set(jnp.array(env.mocap_high)))
    driven, _ = env.control(at_edge, jnp.ones(4))
    np.testing.assert_allclose(driven.mocap_pos[hand], env.mocap_high, atol=1e-7)
    others = [i for i in range(env.mj_model.nmocap) if i != hand]
    np.testing.assert_array_equal(driven.mocap_pos[np.array(others)], state.physics.mocap_pos[np.array(others)])


def test_frozen_reset_is_the_bank_entry_and_random_resets_cover_the_bank(drawer):
    env, params = drawer
    _, state = jax.vmap(env.reset_env_at, in_axes=(0, None))(jnp.array([3, 3, 5]), params)
    for row, entry in zip(range(3), (3, 3, 5), strict=True):
        jax.tree.map(lambda a, b, r=row, e=entry: np.testing.assert_array_equal(a[r], b[e]), state, params.bank)
    _, drawn = jax.vmap(env.reset_env, in_axes=(0, None))(keys(0, 400), params)
    drawers_at = np.unique(np.asarray(drawn.physics.mocap_pos[:, env.mocap_id("drawer"), 0]))
    assert len(drawers_at) == params.bank_size  # 400 draws miss one of 20 with probability 2.5e-8


def test_geom_poses_are_those_of_c_mujoco(drawer):
    """Oracle: C MuJoCo's kinematics of the same model. float32 against float64 over ten bodies: 1e-6."""
    import mujoco

    env, params = drawer
    _, state = env.reset_env_at(4, params)
    data = mujoco.MjData(env.mj_model)
    for name in ("qpos", "mocap_pos", "mocap_quat"):
        getattr(data, name)[:] = getattr(state.physics, name)
    mujoco.mj_kinematics(env.mj_model, data)
    poses = env.geom_poses(state)
    assert isinstance(poses, GeomPoses)
    np.testing.assert_allclose(poses.pos, data.geom_xpos, atol=2e-6)
    np.testing.assert_allclose(poses.mat, data.geom_xmat.reshape(-1, 3, 3), atol=2e-6)


def test_unknown_task_names_the_nearest_and_how_to_list_all():
    with pytest.raises(ValueError, match=r"drawer-clsoe.*nearest are 'drawer-close', .*rcjax\.envs\.TASKS"):
        envs.make("drawer-clsoe")
    with pytest.raises(ValueError, match="'jax'"):
        envs.make("drawer-close", backend=cast(Any, "vulkan"))
    with pytest.raises(ValueError, match="seeds is empty"):
        envs.make("drawer-close", seeds=())


@pytest.mark.parametrize("alias", ["drawer-close", "drawer-close-v3", "drawer_close-v2-goal-hidden", "Drawer-Close"])
def test_canonical_name(alias):
    assert envs.canonical_name(alias) == "drawer-close"


@pytest.mark.parametrize(
    ("task", "asked", "hidden"),
    [
        ("drawer-close-v3", None, True),
        ("drawer-close-v3-goal-hidden", None, True),
        ("drawer-close-v2-goal-observable", None, False),
        ("drawer-close-goal-observable", None, False),
        ("Drawer_Close-V3-Goal-Observable", False, False),
        ("drawer-close-v3-goal-hidden", True, True),
        ("drawer-close", False, False),
    ],
)
def test_the_goals_suffix_is_honoured(task, asked, hidden):
    assert envs.choose_goal_hidden(task, asked) is hidden
    assert envs.make(task, seeds=(0,), goal_hidden=asked)[0].goal_hidden is hidden


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task": "drawer-close-v3-goal-observable", "goal_hidden": True}, "contradict each other"),
        ({"task": "drawer-close-v3-goal-hidden", "goal_hidden": False}, "contradict each other"),
        ({"task": "drawer-close-v1"}, "of version 1; the scenes are those of version 3"),
        ({"task": "drawer-close-v9-goal-observable"}, "of version 9"),
        ({"task": "drawer-close-v3-goal-visible"}, "Unknown task"),
        ({"task": None}, "Unknown task None"),
        ({"goal_hidden": 1}, "goal_hidden=1; it must be True or False"),
        ({"goal_hidden": [True]}, "True or False"),
        ({"max_steps": 0}, "max_steps=0; it must be at least 1"),
        ({"max_steps": -3}, "max_steps=-3"),
        ({"max_steps": True}, "a whole number"),
        ({"max_steps": 10.0}, "a whole number"),
        ({"max_steps": 2**31}, "at most 2147483647"),
        ({"backend": ["jax"]}, "'jax', 'c' or 'warp'"),
        ({"reward_version": 2}, "'v1' or 'v2'"),
        ({"random_source": None}, "'metaworld' or 'release'"),
        ({"seeds": 5}, "seeds=5"),
        ({"seeds": "12"}, "seeds='12'"),
        ({"seeds": [-1]}, "seeds has -1"),
        ({"seeds": [0, 2**32]}, "seeds has 4294967296"),
        ({"seeds": [1.0]}, "seeds has 1.0"),
        ({"seeds": [True]}, "seeds has True"),
        ({"seeds": [None]}, "seeds has None"),
        ({"seeds": range(10**30)}, "seeds has 999"),
        ({"seeds": np.zeros((2, 2), int)}, "seeds has array"),
    ],
)
def test_options_of_another_kind_or_size_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        envs.make(**({"task": "drawer-close", "seeds": (0,)} | options))


def test_the_class_itself_checks_its_options_too():
    for options in ({"max_steps": 0}, {"goal_hidden": None}, {"reward_version": "v3"}, {"backend": "vulkan"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            envs.TASKS["drawer-close"](**options)


ACTIONS_REFUSED = {
    "one number": np.zeros(1, np.float32),
    "three": np.zeros(3, np.float32),
    "five": np.zeros(5, np.float32),
    "a scalar": 0.0,
    "a batch": np.zeros((2, 4), np.float32),
    "a column": np.zeros((4, 1), np.float32),
    "bool": np.zeros(4, bool),
    "complex": np.zeros(4, np.complex64),
    "none": None,
    "a dictionary": {"x": 0.0},
}


@pytest.mark.parametrize("what", ACTIONS_REFUSED)
def test_actions_are_four_real_numbers(motionless, what):
    env, params = motionless
    _, state = env.reset_env_at(0, params)
    adapted = BraxEnv(env, params)
    with pytest.raises(ValueError, match="a step takes 4 real numbers"):
        env.step(jax.random.key(0), state, ACTIONS_REFUSED[what], params)
    with pytest.raises(ValueError, match="a step takes 4 real numbers"):
        adapted.step(adapted.reset(jax.random.key(0)), ACTIONS_REFUSED[what])


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int32, np.uint8, list])
def test_an_actions_numbers_may_be_of_any_real_kind(motionless, kind):
    """Integers keep their value; an unsigned 1 must not become -255 for the other finger."""
    env, params = motionless
    _, state = env.reset_env_at(0, params)
    numbers = [0, 1, 0, 1]
    action = numbers if kind is list else np.array(numbers, kind)
    stepped = env.step_env(jax.random.key(0), state, action, params)
    expected = env.step_env(jax.random.key(0), state, jnp.array(numbers, jnp.float32), params)
    jax.tree.map(np.testing.assert_array_equal, stepped, expected)


def test_a_batched_state_needs_vmap(motionless):
    env, params = motionless
    _, states = jax.vmap(env.reset, in_axes=(0, None))(keys(0, 2), params)
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        env.step(jax.random.key(0), states, jnp.zeros(4), params)


@pytest.mark.parametrize("index", [-1, 20, 2**40, 1.0, True, None, "0", [0], np.array([0, 1])])
def test_a_start_outside_the_bank_is_refused(drawer, index):
    env, params = drawer
    with pytest.raises(ValueError, match="entries 0 to 19"):
        env.reset_env_at(index, params)


def test_parameters_of_another_task_are_refused(drawer):
    env, _ = drawer
    _, others = envs.make("door-open", seeds=(0,))
    calls = [
        lambda: env.reset(jax.random.key(0), others),
        lambda: env.reset_env_at(0, others),
        lambda: BraxEnv(env, others),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="not those of drawer-close"):
            call()
    with pytest.raises(ValueError, match="EnvParams"):
        env.reset_env(jax.random.key(0), {"max_steps_in_episode": 3})


@pytest.mark.slow
def test_64_bit_mode_changes_no_number(motionless):
    """Oracle: the same calls without it. Observations and rewards once became float64, and other resets were drawn."""
    env, params = motionless

    def calls():
        own = env.make_params(env.build_reset_bank((0, 1)))
        starts = jax.vmap(env.reset_env, in_axes=(0, None))(keys(3, 8), params)
        obs, state = env.reset_env_at(np.int64(1), params)
        stepped = env.step_env(jax.random.key(4), state, np.full(4, 0.3), params)
        adapted = BraxEnv(env, params)
        shapes = jax.eval_shape(lambda key: adapted.step(adapted.reset(key), np.full(4, 0.3)), jax.random.key(5))
        return (
            own.bank,
            own.mjx_model,
            starts,
            obs,
            stepped,
            jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes),
        )

    usual = calls()
    with jax.enable_x64(True):
        wide = calls()

    def same(a, b):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)

    jax.tree.map(same, usual, wide)


@pytest.mark.slow
def test_mjx_steps_in_64_bit_mode(drawer):
    """The step is only traced: the scan over MJX's substeps once failed, as its carry became float64."""
    env, params = drawer
    _, state = env.reset_env_at(0, params)
    with jax.enable_x64(True):
        shapes = jax.eval_shape(env.step_env, jax.random.key(0), state, np.zeros(4), params)
    assert {str(x.dtype) for x in jax.tree.leaves(shapes)} == {"float32", "int32", "bool"}


def test_equal_options_share_the_environment_and_so_its_compiled_programs(drawer):
    assert envs.make("drawer-close-v3", seeds=(1, 2))[0] is drawer[0]
    assert envs.make("drawer-close", seeds=(1,), goal_hidden=False)[0] is not drawer[0]
