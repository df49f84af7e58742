"""Small matrix products as sums: JAX's own products as the oracle, and a whole physics step."""

import functools

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from mujoco import mjx

from rcjax import envs
from rcjax.envs import physics
from rcjax.envs.small_products import multiply_and_sum, with_sums

SCENE = """<mujoco><option solver="Newton" iterations="4"/><worldbody>
<geom type="plane" size="1 1 .1"/>
<body pos="0 0 .1"><freejoint/><geom size=".1 .1 .1" type="box"/></body>
<body pos=".5 0 .3"><joint axis="0 1 0"/><geom type="capsule" size=".03 .1"/>
<body pos="0 0 .1"><joint axis="1 0 0"/><geom size=".05"/></body></body></worldbody></mujoco>"""


@pytest.mark.parametrize(
    ("lhs", "rhs", "numbers"),
    [
        ((3,), (3,), (((0,), (0,)), ((), ()))),
        ((3, 4), (4, 5), (((1,), (0,)), ((), ()))),
        ((4, 3), (5, 4), (((0,), (1,)), ((), ()))),
        ((2, 3, 4), (2, 4, 5), (((2,), (1,)), ((0,), (0,)))),
        ((3, 7, 2, 4), (5, 2, 4, 7), (((3, 1), (2, 3)), ((2,), (1,)))),
        ((3,), (4,), (((), ()), ((), ()))),
    ],
)
def test_they_equal_jaxs_products(lhs, rhs, numbers):
    a, b = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate((lhs, rhs)))
    expected = jax.lax.dot_general(a, b, numbers, precision="highest")
    ours = multiply_and_sum(a, b, numbers)
    assert ours.dtype == expected.dtype
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.fixture(scope="module")
def step():
    """A physics step from these velocities. The box lies on the plane, so that contacts and the solver are in it."""
    mjx_model = mjx.put_model(mujoco.MjModel.from_xml_string(SCENE), impl="jax")

    def step(qvel):
        return mjx.step(mjx_model, mjx.make_data(mjx_model, impl="jax").replace(qvel=qvel)).qvel

    return step


@pytest.mark.slow
def test_a_physics_step_has_the_same_numbers_and_no_products(step):
    qvel = 0.3 * jax.random.normal(jax.random.key(0), (3, 8))
    products, sums = (jax.jit(jax.vmap(function)) for function in (step, with_sums(step)))
    assert "dot_general" in products.lower(qvel).as_text() and "dot_general" not in sums.lower(qvel).as_text()
    np.testing.assert_allclose(sums(qvel), products(qvel), atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: {"a": x @ x, "b": (x[0], 2)},
        jax.jit(lambda x: x @ x.T),
        lambda x: jax.lax.while_loop(
            lambda c: (c[1] @ x[0]).sum() < 9, lambda c: (c[0] + 1, c[1] + x @ c[1]), (0, x[0])
        ),
        lambda x: jax.lax.scan(lambda c, each: (x @ c, each @ c), x[0], x, reverse=True, unroll=2),
        lambda x: jax.lax.cond(x.sum() > 0, lambda y: y @ y, lambda y: y - 1, x),
        lambda x: jax.nn.relu(x @ x[0]),  # has derivatives of its own
    ],
)
def test_whatever_is_called_inside_is_gone_through(function):
    x = jnp.arange(1.0, 17.0).reshape(4, 4) / 16
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), with_sums(function)(x), function(x))
    assert "dot_general" in str(jax.make_jaxpr(function)(x))
    assert "dot_general" not in str(jax.make_jaxpr(with_sums(function))(x))


def test_large_products_and_those_of_integers_stay_as_they_are():
    large, small = jnp.ones((4, 200)), jnp.ones((4, 4))
    product = with_sums(lambda x: x @ x.T)
    assert "dot_general" in str(jax.make_jaxpr(product)(large))
    assert "dot_general" not in str(jax.make_jaxpr(product)(small))
    assert "dot_general" in str(jax.make_jaxpr(product)(small.astype(jnp.int32)))


@pytest.mark.slow
def test_control_steps_of_an_expert_are_the_same():
    """From where the hand touches the drawer, by C MuJoCo."""
    env, params = envs.make("drawer-close", seeds=range(2), backend="c")
    state, expert = params.bank, env.expert()
    step = jax.jit(jax.vmap(env.step_env, in_axes=(None, 0, 0, None)))
    obs_of = jax.jit(jax.vmap(env.obs_with_goal))
    for _ in range(45):
        action = jnp.asarray(np.clip(expert(np.asarray(obs_of(state), float)), -1, 1), jnp.float32)
        _, state, *_ = step(jax.random.key(0), state, action, params)
    driven, ctrl = jax.vmap(env.control)(state.physics, action)
    simulate = functools.partial(physics.simulate, substeps=env.frame_skip)
    products, sums = (
        jax.jit(jax.vmap(function, in_axes=(None, 0, 0)))(params.mjx_model, driven, ctrl)
        for function in (simulate, with_sums(simulate))
    )
    np.testing.assert_allclose(sums.qpos, products.qpos, atol=2e-5)
    np.testing.assert_allclose(sums.qvel, products.qvel, atol=2e-3)
    assert np.abs(products.qpos - driven.qpos).max() > 1e-3
