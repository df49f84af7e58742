"""Which of a run's policies counts: the last one, or the best evaluated one by some rule.

Each evaluation is a candidate. The paper takes the policy with the best true reward, which a user without a reward
cannot know; other rules look only at the reward that was learned from.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from rcjax.config import TrainConfig, Which
from rcjax.ppo.networks import Params
from rcjax.pytree import PyTree

WINDOW = 3  # evaluations over which `plateau` averages


class Candidate(PyTree):
    """A seed's policy, its score by the rule, and the iteration that it is from (-1: there was no evaluation yet)."""

    policy: Params
    score: Float[Array, "*S"]
    iteration: Int[Array, "*S"]


class Selected(PyTree):
    """The policies that each rule would select so far.

    `best` has the highest true return in an evaluation: the paper's way, which needs the truth. `reward` has the
    highest reward in an evaluation. `plateau` is the last of the `WINDOW` consecutive evaluations whose mean reward is
    the highest, and the newest policy before there are as many. Where scores are equal, the earlier policy is kept.
    """

    best: Candidate
    reward: Candidate
    plateau: Candidate
    recent: Float[Array, "*S window"]  # rewards of the last evaluations, the oldest first; NaN before the first


def require_rule(which: Which, config: TrainConfig) -> None:
    """Raises ValueError for a rule that selects by a reward, of a run that has none."""
    if config.reward == "bc" and which in ("reward", "plateau"):
        raise ValueError(
            f"a run that clones actions (--reward bc) has no reward by which {which!r} could select a policy; use last "
            "or best."
        )


def nothing_selected(policy: Params) -> Selected:
    """Returns the selection of one seed before its first evaluation. `policy` stands in for those to come."""
    candidate = Candidate(policy=policy, score=jnp.array(-jnp.inf), iteration=jnp.array(-1))
    return Selected(best=candidate, reward=candidate, plateau=candidate, recent=jnp.full(WINDOW, jnp.nan))


def after_evaluation(
    selected: Selected,
    policy: Params,
    iteration: Int[Array, ""],
    true_return: Float[Array, ""],
    reward: Float[Array, ""],
) -> Selected:
    """Returns one seed's selection after an evaluation of `policy`, which the iteration `iteration` has led to."""

    def keep_better(old: Candidate, score: Float[Array, ""], complete: bool | Bool[Array, ""] = True) -> Candidate:
        new = Candidate(policy=policy, score=jnp.where(complete, score, -jnp.inf), iteration=iteration)
        better = (score > old.score) | ~jnp.asarray(complete)
        return jax.tree.map(lambda new, old: jnp.where(better, new, old), new, old)

    recent = jnp.concatenate([selected.recent[1:], reward[None]])
    return Selected(
        best=keep_better(selected.best, true_return),
        reward=keep_better(selected.reward, reward),
        plateau=keep_better(selected.plateau, jnp.mean(recent), ~jnp.isnan(recent[0])),
        recent=recent,
    )
