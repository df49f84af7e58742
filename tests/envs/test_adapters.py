"""Other libraries' interfaces to our environments. Oracles: gymnax's registry, and Brax's and Playground's wrappers."""

import dataclasses
import functools
import pathlib
from typing import Any, cast

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax import envs
from rcjax.envs.brax_adapter import BraxEnv

N = 3
OLD_KEY = jax.random.PRNGKey(0)  # their wrappers rely on keys with an axis of two


def test_every_task_is_in_gymnaxs_registry():
    assert {f"Metaworld/{task}-v3" for task in envs.MT50} <= set(gymnax.registered_envs)


def test_gymnax_has_metaworlds_names_for_a_hidden_and_a_shown_goal():
    assert gymnax.make("Metaworld/drawer-close-v3-goal-hidden")[0].goal_hidden
    assert not gymnax.make("Metaworld/drawer-close-v3-goal-observable")[0].goal_hidden
    with pytest.raises(ValueError, match="contradict each other"):
        gymnax.make("Metaworld/drawer-close-v3-goal-observable", goal_hidden=True)


def test_gymnax_make_builds_the_environment_with_its_options():
    env, params = gymnax.make("Metaworld/drawer-close-v3", goal_hidden=False, max_steps=100)
    assert (env.name, params.bank_size, params.max_steps_in_episode) == ("drawer-close", 50, 100)
    obs, state = env.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(obs[36:], state.task.target_pos)


def test_a_style_that_is_neither_is_refused(motionless):
    with pytest.raises(ValueError, match="'brax' or 'playground'"):
        BraxEnv(*motionless, style=cast(Any, "dm_env"))


@pytest.mark.parametrize("style", ["brax", "playground"])
def test_step_is_the_environments_step(motionless, style):
    env, params = motionless
    adapted = BraxEnv(env, params, style)
    assert (adapted.observation_size, adapted.action_size, adapted.backend) == (39, 4, "mjx-jax")
    assert adapted.dt == pytest.approx(0.0125)
    key, action = jax.random.key(1), jnp.array([0.3, -1.0, 0.5, 1.0])
    first = adapted.reset(key)
    obs, state = env.reset_env(key, params)
    np.testing.assert_array_equal(first.obs, obs)
    first = dataclasses.replace(first, info={"kept": 1})
    second = adapted.step(first, action)
    obs, state, reward, _, info = env.step_env(key, state, action, params)
    np.testing.assert_array_equal(second.obs, obs)
    np.testing.assert_array_equal(second.reward, reward)
    assert second.done == 0 and second.info == {"kept": 1}
    assert set(second.metrics) == set(info) == set(first.metrics)
    assert jax.tree.structure(first) == jax.tree.structure(second)  # a scan can carry it
    np.testing.assert_array_equal(second.metrics["success"], info["success"])


def drive(wrapped, key):
    """Takes five steps of episodes of three steps, as training loops do: jitted and scanned."""

    def step(state, action):
        state = wrapped.step(state, action)
        return state, (state.done, state.obs, state.info["steps"])

    actions = jnp.ones((5, N, 4))
    return jax.jit(lambda key: jax.lax.scan(step, wrapped.reset(jax.random.split(key, N)), actions)[1])(key)


def test_brax_wrappers_end_and_restart_episodes(motionless):
    training = pytest.importorskip("brax.envs.wrappers.training")
    done, obs, steps = drive(training.wrap(BraxEnv(*motionless), episode_length=3), OLD_KEY)
    np.testing.assert_array_equal(done, np.repeat([[0], [0], [1], [0], [0]], N, axis=1))
    np.testing.assert_array_equal(obs[4], obs[1])  # each environment restarted from its own initial state
    assert steps[-1].tolist() == [2] * N


def test_playground_wrappers_end_and_restart_episodes(motionless):
    wrapper = pytest.importorskip("mujoco_playground._src.wrapper")
    env = BraxEnv(*motionless, style="playground")
    done, obs, _ = drive(wrapper.wrap_for_brax_training(env, episode_length=3), OLD_KEY)
    np.testing.assert_array_equal(done, np.repeat([[0], [0], [1], [0], [0]], N, axis=1))
    np.testing.assert_array_equal(obs[4], obs[1])


def test_brax_ppo_trains_on_it(motionless, monkeypatch):
    """Brax's own training loop from end to end; nothing moves, so that MJX need not be compiled.

    Brax 0.14.2 calls `jax.device_put_replicated`, which JAX 0.10 no longer has; it is restored here.
    """
    monkeypatch.setattr(
        jax, "device_put_replicated",
        lambda tree, devices: jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree), raising=False,
    )  # fmt: skip
    ppo = pytest.importorskip("brax.training.agents.ppo.train")
    networks = pytest.importorskip("brax.training.agents.ppo.networks")
    small = functools.partial(networks.make_ppo_networks, policy_hidden_layer_sizes=(8,), value_hidden_layer_sizes=(8,))
    seen = []
    ppo.train(
        BraxEnv(*motionless), num_timesteps=64, episode_length=8, num_envs=4, batch_size=4, num_minibatches=1,
        unroll_length=8, num_updates_per_batch=1, num_evals=2, num_eval_envs=2, network_factory=small,
        progress_fn=lambda step, metrics: seen.append((step, metrics)),
    )  # fmt: skip
    steps, metrics = seen[-1]
    assert steps >= 64
    assert np.isfinite(metrics["eval/episode_reward"])
    assert "eval/episode_success" in metrics


def readme_example(start):
    text = (pathlib.Path(__file__).parents[2] / "rcjax" / "envs" / "README.md").read_text()
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    return next(block for block in blocks if block.startswith(start))


@pytest.fixture
def no_shared_environments(monkeypatch):
    """Keeps environments that were made with a patched `simulate` from reaching other tests."""
    monkeypatch.setattr(envs, "_make_env", envs._make_env.__wrapped__)


def test_readmes_gymnax_example_runs(motionless, no_shared_environments):
    names: dict = {}
    exec(readme_example("import gymnax"), names)
    assert names["obs"].shape == (39,) and np.isfinite(names["reward"]) and "success" in names["info"]


def test_readmes_brax_example_trains(motionless, no_shared_environments, monkeypatch):
    """Runs the example up to the call of Brax's `train`; `test_brax_ppo_trains_on_it` calls it with small numbers."""
    train = pytest.importorskip("brax.training.agents.ppo.train")
    given = {}
    monkeypatch.setattr(train, "train", lambda environment, **options: (given.update(options), environment, None))
    names: dict = {}
    exec(readme_example("from brax"), names)
    assert names["environment"].env.name == "door-open"
    assert given["episode_length"] == 128
