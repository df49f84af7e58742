"""C MuJoCo as the physics backend of the compiled program. Oracle: C MuJoCo stepped directly, on the same model."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rcjax import envs
from rcjax.envs import c_physics, experts
from rcjax.envs.mjx_env import choose_backend
from rcjax.startup import silence_mujoco
from rcjax.target import compiling_for

N = 8


@pytest.fixture(scope="module")
def drawer():
    return envs.make("drawer-close", seeds=range(N), backend="c")


@pytest.fixture(scope="module")
def step(drawer):
    return experts._compiled(drawer[0])[1]


def test_a_step_is_mujocos_own(drawer, step):
    """From states in motion, so that velocities and the warm start matter; equal up to the rounding to float32."""
    env, params = drawer
    actions = jax.random.uniform(jax.random.key(0), (30, N, 4), minval=-1.0)
    state = params.bank
    for action in actions[:-1]:
        _, state, *_ = step(jax.random.key(0), state, action, params)
    _, after, _, _, info = step(jax.random.key(0), state, actions[-1], params)
    assert info["diverged"].sum() == 0
    driven, ctrl = jax.vmap(env.control)(state.physics, actions[-1])
    data = mujoco.MjData(env.mj_model)
    for i in range(N):
        c_physics.load_state(env.mj_model, data, jax.tree.map(lambda leaf, i=i: leaf[i], driven))
        data.ctrl[:] = ctrl[i]
        c_physics.step(env.mj_model, data, env.frame_skip)
        assert np.abs(data.qvel).max() > 0.01
        np.testing.assert_array_equal(after.physics.qpos[i], data.qpos.astype(np.float32))
        np.testing.assert_array_equal(after.physics.qvel[i], data.qvel.astype(np.float32))
        np.testing.assert_array_equal(after.physics.qacc_warmstart[i], data.qacc_warmstart.astype(np.float32))
        for ours, name in (("body_pos", "xpos"), ("body_quat", "xquat"), ("geom_pos", "geom_xpos")):
            np.testing.assert_array_equal(getattr(after.physics.poses, ours)[i], getattr(data, name).astype(np.float32))
        geom_mat = after.physics.poses.geom_mat[i].reshape(-1, 9)
        np.testing.assert_array_equal(geom_mat, data.geom_xmat.astype(np.float32))
        np.testing.assert_array_equal(after.physics.poses.site_pos[i], data.site_xpos.astype(np.float32))


def test_expert_succeeds(drawer):
    run = experts.run_expert(*drawer, range(N))
    assert run.success.any(0).all()
    assert run.reward.sum(0).mean() == pytest.approx(539.5, rel=0.1)  # the official return


def test_nested_vmaps_and_single_states(drawer):
    env, params = drawer
    flat, ctrl = params.bank.physics, jnp.tile(jnp.array([1.0, -1.0]), (N, 1))
    expected = jax.jit(jax.vmap(env._simulate, in_axes=(None, 0, 0)))(params.mjx_model, flat, ctrl)
    nested = jax.tree.map(lambda x: x.reshape(2, N // 2, *x.shape[1:]), flat)
    twice = jax.vmap(jax.vmap(env._simulate, in_axes=(None, 0, None)), in_axes=(None, 0, None))
    got = jax.jit(twice)(params.mjx_model, nested, ctrl[0])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.reshape(b.shape), b), got, expected)
    one = env._simulate(params.mjx_model, jax.tree.map(lambda x: x[3], flat), ctrl[3])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[3]), one, expected)


def test_a_batch_of_models_is_refused(drawer):
    env, params = drawer
    models = params.mjx_model.replace(body_mass=jnp.stack([params.mjx_model.body_mass] * N))
    axes = jax.tree.map(lambda _: None, params.mjx_model).replace(body_mass=0)
    with pytest.raises(ValueError, match=r"different models.*backend='c'.*backend='jax'"):
        jax.vmap(env._simulate, in_axes=(axes, 0, 0))(models, params.bank.physics, jnp.zeros((N, 2)))


def test_parts_of_a_batch_are_the_batch(drawer, monkeypatch):
    """Three calls of the host, the last of which has two environments."""
    env, params = drawer
    ctrl = jnp.tile(jnp.array([1.0, -1.0]), (N, 1))
    expected = jax.vmap(env._simulate, in_axes=(None, 0, 0))(params.mjx_model, params.bank.physics, ctrl)
    monkeypatch.setattr(c_physics, "MAX_BYTES", 3 * 4 * 53)  # 53 numbers each
    simulate = c_physics.make_simulate(env.mj_model, env.frame_skip)
    got = jax.vmap(simulate, in_axes=(None, 0, 0))(params.mjx_model, params.bank.physics, ctrl)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.parametrize("speed", [1e20, np.nan])
def test_diverged_physics_returns_to_the_start(drawer, step, speed, tmp_path, monkeypatch, capfd):
    """MuJoCo by itself would reset such a state, which would pass for a step of the episode. The others are stepped as
    if it were not there, and MuJoCo's warning is not written into the working directory."""
    monkeypatch.chdir(tmp_path)
    silence_mujoco()
    params = drawer[1]
    _, undisturbed, *_ = step(jax.random.key(0), params.bank, jnp.zeros((N, 4)), params)
    fast = params.bank.physics.qvel.at[2, 0].set(speed)
    state = params.bank.replace(physics=params.bank.physics.replace(qvel=fast))
    _, after, reward, _, info = step(jax.random.key(0), state, jnp.zeros((N, 4)), params)
    np.testing.assert_array_equal(info["diverged"], np.arange(N) == 2)
    np.testing.assert_array_equal(after.physics.qpos[2], params.bank.physics.qpos[2])
    assert reward[2] == 0
    others = np.arange(N) != 2
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[others], b[others]), after, undisturbed)
    assert not list(tmp_path.iterdir()) and "unstable" not in capfd.readouterr().out


def test_auto_is_c_mujoco_on_cpus_alone():
    chosen = {}
    for platform in ("cpu", "gpu", "tpu"):
        with compiling_for(platform):
            chosen[platform] = choose_backend("auto")
    assert chosen == {"cpu": "c", "gpu": "jax", "tpu": "jax"}
    assert [choose_backend(name) for name in ("jax", "c", "warp")] == ["jax", "c", "warp"]


TWO_DEVICES = """
import jax, json, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from rcjax import envs
env, params = envs.make("drawer-close", seeds=range(64), backend="c")
states = jax.tree.map(lambda x: np.tile(x, (32,) + (1,) * (x.ndim - 1)), params.bank)

def run(states, actions):
    def step(state, action):
        _, state, *_ = jax.vmap(env.step_env, in_axes=(None, 0, 0, None))(None, state, action, params)
        return state, state.physics.qpos
    return jax.lax.scan(step, states, actions)[1]

actions = jax.random.uniform(jax.random.key(0), (4, 2048, 4), minval=-1.0)
mesh = jax.make_mesh((2,), ("env",), axis_types=(jax.sharding.AxisType.Auto,))
shared = jax.shard_map(run, mesh=mesh, in_specs=(P("env"), P(None, "env")), out_specs=P(None, "env"), check_vma=False)
expected = jax.jit(run)(states, actions)
states = jax.device_put(states, NamedSharding(mesh, P("env")))
program = jax.jit(shared)
print(json.dumps([bool(np.array_equal(program(states, actions), expected)) for _ in range(3)]))
"""


@pytest.mark.slow
def test_devices_step_beside_each_other():
    """Two devices call the host at the same time, and get what one device gets, which steps twice as many at once.

    If a device gave all of its 1,024 environments to one call of the host, both would wait for ever.
    """
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", TWO_DEVICES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [True] * 3
