"""One environment and one compiled batch of 20 for all tests of this folder: compiling is what takes the time."""

import pytest

from rcjax import envs
from rcjax.envs import TASKS, experts, physics

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

    monkeypatch.setattr(physics, "simulate", lambda model, state, ctrl, **options: state)
    return TASKS["drawer-close"](), drawer[1]
