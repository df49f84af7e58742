"""Which of the evaluated policies each rule selects."""

import jax.numpy as jnp
import numpy as np
import pytest

from rcjax.selection import after_evaluation, nothing_selected

# Five evaluations: true return, reward.
EVALUATIONS = [(1.0, 5.0), (3.0, 9.0), (2.0, 1.0), (7.0, 6.0), (4.0, 7.0)]


def select(evaluations):
    """Returns the selection after evaluations in iterations 10, 20, ..., whose policies are these numbers."""
    selected = nothing_selected({"actor": jnp.array(0.0)})
    for i, (true_return, reward) in enumerate(evaluations, start=1):
        policy = {"actor": jnp.array(10.0 * i)}
        selected = after_evaluation(selected, policy, jnp.array(10 * i), jnp.array(true_return), jnp.array(reward))
    return selected


@pytest.mark.parametrize(
    ("rule", "iteration", "score"),
    [("best", 40, 7.0), ("reward", 20, 9.0), ("plateau", 40, 16 / 3)],
)
def test_each_rule_selects_its_policy(rule, iteration, score):
    """By hand: the means of three rewards are 5, 5.33 and 4.67."""
    candidate = getattr(select(EVALUATIONS), rule)
    assert int(candidate.iteration) == iteration == float(candidate.policy["actor"])
    assert float(candidate.score) == pytest.approx(score)


def test_a_short_peak_is_no_plateau():
    """Means of three: 3, 5, 5, 6."""
    selected = select([(0, 0.0), (0, 9.0), (0, 0.0), (0, 6.0), (0, 9.0), (0, 3.0)])
    assert int(selected.reward.iteration) == 20
    assert int(selected.plateau.iteration) == 60
    np.testing.assert_array_equal(selected.recent, [6.0, 9.0, 3.0])


def test_the_newest_policy_stands_in_before_there_is_a_plateau():
    selected = select([(1.0, 9.0), (2.0, 1.0)])
    assert int(selected.plateau.iteration) == 20 and float(selected.plateau.score) == -np.inf
    assert int(select([(1.0, 9.0), (2.0, 1.0), (3.0, 0.0), (0.0, 0.0)]).plateau.iteration) == 30


def test_the_earlier_of_equal_policies_is_kept():
    selected = select([(1.0, 2.0)] * 4)
    assert [int(getattr(selected, rule).iteration) for rule in ("best", "reward", "plateau")] == [10, 10, 30]


def test_nothing_is_selected_before_an_evaluation():
    selected = nothing_selected({"actor": jnp.array(0.0)})
    assert all(int(getattr(selected, rule).iteration) == -1 for rule in ("best", "reward", "plateau"))
