"""The kinematic-chain barriers change no number, are present only where requested, and do not harm another MJX."""

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from mujoco import mjx
from mujoco.mjx._src import scan

from rcjax.envs import mjx_compat

CHAIN = "<mujoco><worldbody>{}</worldbody></mujoco>".format(
    '<body pos="0 0 .1"><joint axis="0 1 0"/><geom size=".02"/>' * 4 + "</body>" * 4
)


@pytest.fixture(scope="module")
def chain():
    model = mujoco.MjModel.from_xml_string(CHAIN)
    return model, mjx.put_model(model, impl="jax")


def positions(chain, barriers):
    _, model = chain

    def body_positions(qpos):
        with mjx_compat.chain_barriers(barriers):
            return mjx.kinematics(model, mjx.make_data(model, impl="jax").replace(qpos=qpos)).xpos

    return jax.jit(jax.vmap(body_positions))


def test_barriers_change_no_number(chain):
    qpos = jax.random.normal(jax.random.key(0), (3, 4))
    with_barriers, without = positions(chain, True)(qpos), positions(chain, False)(qpos)
    np.testing.assert_allclose(with_barriers, without, atol=1e-6)  # fused arithmetic may round differently
    data = mujoco.MjData(chain[0])
    data.qpos[:] = qpos[1]
    mujoco.mj_kinematics(chain[0], data)
    np.testing.assert_allclose(with_barriers[1], data.xpos, atol=1e-6)


def test_barriers_are_present_only_where_requested(chain):
    qpos = jnp.zeros((2, 4))
    assert positions(chain, True).lower(qpos).as_text().count("optimization_barrier") == 4  # one per level below
    assert "optimization_barrier" not in positions(chain, False).lower(qpos).as_text()


def test_an_mjx_with_another_body_tree_is_left_alone_with_a_warning(chain, monkeypatch):
    monkeypatch.setattr(mjx_compat, "_original_body_tree", lambda m, f, *args: None)
    before = scan.body_tree
    with pytest.warns(UserWarning, match="body_tree has changed"), mjx_compat.chain_barriers():
        assert scan.body_tree is before
