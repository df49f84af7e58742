"""One environment and one compiled batch of 20 for all tests of this folder: compiling is what takes the time."""

import pytest

from rcjax import envs
from rcjax.envs import experts, mjx_env
from rcjax.envs.metaworld.drawer_close import DrawerClose

N = 20


@pytest.fixture(scope="session")
def drawer():
    """(env, params) of drawer-close with a bank of 20 official resets."""
    return envs.make("drawer-close", seeds=range(N))


@pytest.fixture(scope="session")
def compiled(drawer):
    """Batched reset_env_at, step_env and obs_with_goal, the very functions that `run_policy` compiles."""
    return experts._compiled(drawer[0])


@pytest.fixture(scope="session")
def expert_run(drawer):
    """Metaworld's own expert in our environment: 20 seeds, 128 steps."""
    env, params = drawer
    return experts.run_expert(env, params, range(N))


@pytest.fixture
def still(drawer, monkeypatch):
    """(env, params) whose physics stays where it is: what surrounds a step is tested without compiling MJX."""

    def stay(model, state, mocap_pos, mocap_quat, ctrl, *, substeps):
        return state.qpos, state.qvel, state.qacc_warmstart, state.poses

    monkeypatch.setattr(mjx_env, "simulate", stay)
    return DrawerClose(), drawer[1]
