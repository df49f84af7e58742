"""One environment and one compiled batch of 20 for all tests of this folder, as compiling takes most of the time."""

import pytest

from rcjax import envs
from rcjax.envs import TASKS, experts, physics
from rcjax.envs.metaworld.sawyer import SawyerEnv
from rcjax.envs.mjx_env import EnvParams

N = 20


@pytest.fixture(scope="session")
def drawer() -> tuple[SawyerEnv, EnvParams]:
    """The environment drawer-close, and parameters with a bank of 20 official resets."""
    return envs.make("drawer-close", seeds=range(N))


@pytest.fixture(scope="session")
def compiled(drawer):
    """Batched reset_env_at, step_env and obs_with_goal, the same functions that `run_policy` compiles."""
    return experts._compiled(drawer[0])


@pytest.fixture(scope="session")
def expert_run(drawer):
    """Metaworld's own expert in our environment: 20 seeds, 128 steps."""
    env, params = drawer
    return experts.run_expert(env, params, range(N))


@pytest.fixture
def motionless(drawer, monkeypatch) -> tuple[SawyerEnv, EnvParams]:
    """An environment in which nothing moves, and parameters: for testing the rest of a step without compiling MJX."""

    monkeypatch.setattr(physics, "simulate", lambda model, state, ctrl, **options: state)
    return TASKS["drawer-close"](), drawer[1]
