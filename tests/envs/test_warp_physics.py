"""MJX-Warp as the physics backend, here with Warp's CPU target. Oracle: C MuJoCo on the same model."""

import importlib.util

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from rcjax import envs
from rcjax.envs import c_physics, experts, warp_physics

pytestmark = pytest.mark.skipif(importlib.util.find_spec("warp") is None, reason="needs rcjax[warp]")
N = 20


@pytest.fixture(scope="module")
def warp_drawer():
    return envs.make("drawer-close", seeds=range(N), backend="warp")


@pytest.fixture(scope="module")
def warp_step(warp_drawer):
    return experts._compiled(warp_drawer[0])[1]


def test_limits_that_are_reached_on_purpose_are_not_printed(warp_drawer, warp_step, capfd):
    env, params = warp_drawer
    for seed in range(3):
        action = jax.random.uniform(jax.random.key(seed), (N, 4), minval=-1.0)
        jax.block_until_ready(warp_step(jax.random.key(0), params.bank, action, params))
    assert "limit reached" not in capfd.readouterr().out
    model = warp_physics.put_model(env.mj_model)
    kept = model.opt._impl.warn_overflow  # pyright: ignore
    types = pytest.importorskip("mujoco.mjx.third_party.mujoco_warp")
    assert kept & types.OverflowType.NARROWPHASE and kept & types.OverflowType.NEFC
    assert not kept & (types.OverflowType.ITERATIONS | types.OverflowType.LS_ITERATIONS)


def test_a_step_is_c_mujocos_step(warp_drawer, warp_step):
    """Each world has its own bases, and the hand moves. float32 differs from float64 by 3e-6, as measured."""
    env, params = warp_drawer
    action = jax.random.uniform(jax.random.key(0), (N, 4), minval=-1.0)
    _, state, _, _, info = warp_step(jax.random.key(0), params.bank, action, params)
    assert info["diverged"].sum() == 0
    driven, ctrl = jax.vmap(env.control)(params.bank.physics, action)
    data = mujoco.MjData(env.mj_model)
    for i in range(0, N, 5):
        c_physics.load_state(env.mj_model, data, jax.tree.map(lambda leaf, i=i: leaf[i], driven))
        data.ctrl[:] = ctrl[i]
        c_physics.step(env.mj_model, data, env.frame_skip)
        np.testing.assert_allclose(state.physics.qpos[i], data.qpos, atol=2e-5)
        np.testing.assert_allclose(state.physics.poses.body_pos[i], data.xpos, atol=2e-5)
        np.testing.assert_allclose(state.physics.poses.geom_mat[i].reshape(-1, 9), data.geom_xmat, atol=5e-5)


def test_expert_succeeds(warp_drawer):
    run = experts.run_expert(*warp_drawer, range(N))
    assert run.success.any(0).sum() >= 19
    assert run.reward.sum(0).mean() == pytest.approx(539.5, rel=0.1)  # the official return


def test_vmap_over_vmap_is_one_batch(warp_drawer):
    """Contacts of all worlds share one buffer; if the inner axis determined its size, contacts would be dropped."""
    env, params = warp_drawer
    shut = experts.run_expert(env, params, range(N), 70)  # the hand at the drawer
    assert shut.obs.shape[0] == 70
    flat = params.bank.physics
    ctrl = jnp.tile(jnp.array([1.0, -1.0]), (N, 1))
    batched = jax.vmap(env._simulate, in_axes=(None, 0, 0))
    expected = jax.jit(batched)(params.mjx_model, flat, ctrl)
    nested = jax.tree.map(lambda x: x.reshape(4, 5, *x.shape[1:]), (flat, ctrl))
    got = jax.jit(jax.vmap(batched, in_axes=(None, 0, 0)))(params.mjx_model, *nested)
    np.testing.assert_allclose(got.qpos.reshape(N, -1), expected.qpos, atol=1e-6)
    one = jax.jit(env._simulate)(params.mjx_model, jax.tree.map(lambda x: x[3], flat), ctrl[3])
    np.testing.assert_allclose(one.qpos, expected.qpos[3], atol=1e-6)


def test_a_batch_of_models_is_refused(warp_drawer):
    env, params = warp_drawer
    models = params.mjx_model.replace(body_mass=jnp.stack([params.mjx_model.body_mass] * N))
    axes = jax.tree.map(lambda _: None, params.mjx_model).replace(body_mass=0)
    with pytest.raises(ValueError, match=r"different models.*backend='jax'"):
        jax.vmap(env._simulate, in_axes=(axes, 0, 0))(models, params.bank.physics, jnp.zeros((N, 2)))


def test_without_warp_the_error_names_the_extra(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "warp" else find(name))
    with pytest.raises(ValueError, match=r"rcjax\[warp\]"):
        envs.make("door-close", seeds=(0,), backend="warp")
