"""The compiled iteration of the smallest loop."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.embedding import embed_frames
from rcjax.loop import count_nonfinite
from rcjax.ppo import PPOState
from rcjax.program import NotFinite, Program, as_rows, refuse_nonfinite
from rcjax.render import render_frames
from rcjax.types import GeomPoses


@pytest.fixture(scope="module")
def first(tiny_program):
    """The first iteration: a copy of the next state, as the program takes over what it is given; the one seed's
    metrics; the episodes."""
    state, metrics, scored = tiny_program.step(tiny_program.initial_state())
    return copied(state), as_rows(metrics)[0], scored


def copied(state):
    return jax.tree.map(jnp.copy, state)


def test_no_host_callback_in_the_compiled_iteration(tiny_program):
    """Oracle: XLA's own text. A callback, an infeed or an outfeed would leave the device mid-iteration."""
    text = tiny_program.compiled.as_text()
    assert "while" in text  # the scans are there, so this is the program
    for word in ("callback", "infeed", "outfeed", "SendToHost", "RecvFromHost"):
        assert word not in text, word


def test_a_callback_would_be_seen():
    """The test above can fail: the same search finds a callback that is there."""
    text = jax.jit(lambda x: jax.pure_callback(np.sin, x, x)).lower(jnp.ones(3)).compile().as_text()
    assert "callback" in text


def test_training_changes_the_policy_and_counts(tiny_program, first):
    state, row, _ = first
    assert int(state.iteration) == 1
    before, after = jax.tree.leaves(tiny_program.initial_state().ppo.params), jax.tree.leaves(state.ppo.params)
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert row["gradient_steps"] == 2 * 2  # epochs x minibatches
    assert row["nonfinite_reward"] == row["nonfinite_episodes"] == row["nonfinite_update"] == 0
    assert row["diverged_physics"] == 0


def test_video_reward_is_the_similarity_of_the_episode_as_drawn(tiny_program, tiny_config, tiny_encoder, first):
    """Oracle: each stage called on its own with the poses that the iteration returned."""
    _, row, scored = first
    inputs = tiny_program.inputs
    frames = jax.jit(render_frames)(inputs.scene, jax.tree.map(lambda x: x[0], scored.episodes.poses))
    assert frames.shape == (4, 8, 32, 32, 3) and frames.dtype == jnp.uint8
    embed = jax.jit(embed_frames, static_argnums=(0, 3))
    embedding = embed(tiny_encoder.network, inputs.encoder, frames, tiny_config.video)
    expected = embedding @ inputs.demonstration[0]
    # Batches of 2 inside and of 4 here are summed in another order: float32 rounding through S3D's depth.
    np.testing.assert_allclose(scored.total_reward[0], expected, rtol=1e-3)
    assert row["video_reward"] == pytest.approx(float(expected.mean()), rel=1e-3)


def test_the_same_state_gives_the_same_iteration(tiny_program, first):
    again = tiny_program.step(tiny_program.initial_state())
    assert again[1] == first[1]


def test_evaluation_is_deterministic_and_leaves_the_state(tiny_program, first):
    state = first[0]
    after, rows, scored = tiny_program.evaluate(copied(state))
    chex.assert_trees_all_equal(after.replace(selected=None), state.replace(selected=None))
    other_key = copied(state).replace(key=jax.random.split(jax.random.key(99), 1))
    _, rows_again, scored_again = tiny_program.evaluate(other_key)
    assert rows == rows_again  # no chance is left: not in the actions, not in the starts
    np.testing.assert_array_equal(scored.reward, scored_again.reward)


def test_a_reward_that_is_not_finite_leaves_the_state(tiny_program, first):
    """So that the last good state is there to be saved. Oracle: the same iteration with a target of numbers."""
    before = tiny_program.initial_state()
    inputs = tiny_program.inputs
    poisoned = inputs.replace(demonstration=inputs.demonstration.at[0, 0].set(jnp.nan))
    after, metrics, _ = tiny_program.compiled(copied(before), poisoned, tiny_program.modes[0])
    chex.assert_trees_all_equal(after, before)
    row = as_rows(metrics)[0]
    assert row["nonfinite_reward"] == 4 and row["nonfinite_episodes"] == row["nonfinite_update"] == 0
    assert int(first[0].iteration) == 1


def with_params(state, name, value):
    """The state with one array of its parameters, or (`nu`) of Adam's second moments, full of `value`."""

    def poisoned(path, leaf):
        return jnp.full_like(leaf, value) if jax.tree_util.keystr(path).endswith(name) else leaf

    after = jax.tree_util.tree_map_with_path(poisoned, state)
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(after.ppo), jax.tree.leaves(state.ppo), strict=True))
    return after


@pytest.mark.parametrize(
    ("name", "value", "counted"),
    [
        ("['critic']['out']['bias']", 1e25, "update"),  # its squared error overflows; values and gradients do not
        ("['critic']['out']['bias']", -np.inf, "episodes"),
        ("['actor']['out']['bias']", np.nan, "episodes"),
        ("params['log_std']", 100.0, "episodes"),  # infinitely wide
        ("params['log_std']", -100.0, "episodes"),  # the density of what is drawn is infinite
        (".nu['actor']['out']['bias']", np.inf, "update"),
    ],
)
def test_numbers_that_are_not_finite_leave_the_state(tiny_program, name, value, counted):
    """Parameters are poisoned, each array in a way that shows elsewhere."""
    before = with_params(tiny_program.initial_state(), name, value)
    after, metrics, _ = tiny_program.step(copied(before))
    chex.assert_trees_all_equal(after, before)
    row = as_rows(metrics)[0]
    assert [what for what in ("reward", "episodes", "update") if row[f"nonfinite_{what}"]] == [counted]
    with pytest.raises(NotFinite, match=r"iteration 1: .* not finite"):
        refuse_nonfinite([row], "iteration 1")


def test_an_evaluation_that_is_not_finite_is_refused(tiny_program):
    with pytest.raises(NotFinite, match=r"evaluation after iteration 0: 4 episodes have .* not finite"):
        tiny_program.evaluate(with_params(tiny_program.initial_state(), "['actor']['out']['bias']", np.nan))


def test_each_seeds_numbers_are_counted_apart():
    """The explained variance may be NaN; the norm of the gradients stands for all of them."""
    state = PPOState(params={"w": jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf]])}, opt_state=(jnp.zeros(2, jnp.int32),))
    losses = {"explained_variance": jnp.full(2, jnp.nan), "grad_norm": jnp.array([1.0, jnp.inf])}
    np.testing.assert_array_equal(jax.vmap(count_nonfinite)(state, losses), [0, 3])
    row = {"nonfinite_reward": 0, "nonfinite_episodes": 0}
    with pytest.raises(NotFinite, match="iteration 2: the update of 1 of 2 seeds"):
        refuse_nonfinite([row | {"nonfinite_update": 0}, row | {"nonfinite_update": 3}], "iteration 2")


def test_environments_start_apart_and_frames_follow_the_stride(tiny_program, tiny_config, first):
    _, _, scored = first
    obs = scored.episodes.rollout.obs[0]
    assert obs.shape == (16, 4, 40)
    # Time is the last number: step / episode_length.
    np.testing.assert_allclose(obs[:, 0, -1], np.arange(16) / 16, atol=1e-6)
    assert len({float(x) for x in obs[0, :, 4]}) > 1  # drawers stand at different x
    assert isinstance(scored.episodes.poses, GeomPoses)
    assert scored.episodes.poses.pos.shape[1:3] == (4, tiny_config.video.n_frames)


def test_a_target_of_another_encoder_is_refused(tiny_config, tiny_world, tiny_encoder):
    with pytest.raises(ValueError, match=r"has shape \(1, 10\), but the encoder's embeddings have 512 numbers"):
        Program(tiny_config, tiny_world, tiny_encoder, np.zeros((1, 10), np.float32))
