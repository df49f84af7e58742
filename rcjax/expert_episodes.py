"""Observations and actions of the task's expert policy, from which GAIL, AIRL and behaviour cloning learn."""

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.config import TrainConfig
from rcjax.envs.experts import PolicyRun, run_expert
from rcjax.rollout import policy_obs
from rcjax.types import Transitions
from rcjax.world import World

MAX_BATCH = 64  # episodes that are run at a time


def expert_transitions(world: World, config: TrainConfig) -> Transitions:
    """Returns the transitions of `config.expert_episodes` successful episodes of the task's expert policy.

    They are those of the first starts of the training bank from which the expert succeeds within an episode, which it
    has to run to its end. Observations are those of the run's policy, so they hide the goal and show the time if the
    config says so.

    Returns:
        NumPy arrays [expert_episodes * episode_length], episode by episode.

    Raises:
        ValueError: The expert does not succeed from as many starts of the bank.
    """
    n_episodes, bank = config.expert_episodes, world.train_params.bank_size
    batch = min(max(8, n_episodes), MAX_BATCH, bank)
    chosen: list[Transitions] = []
    for first in range(0, bank, batch):
        rows = (np.arange(first, first + batch) % bank).tolist()
        episodes = run_expert(world.env, world.train_params, rows, config.video.episode_length + 1)
        n_new = min(batch, bank - first)
        succeeded = np.flatnonzero(episodes.success[:-1, :n_new].any(0))
        chosen += [_episode(episodes, column, config) for column in succeeded.tolist()]
        if len(chosen) >= n_episodes:
            return jax.tree.map(lambda *x: np.concatenate(x), *chosen[:n_episodes])
    raise ValueError(
        f"the expert policy of {world.env.name} succeeds within {config.video.episode_length} steps from {len(chosen)} "
        f"of {bank} starts, fewer than expert_episodes={n_episodes}; lower it, raise --episode-length or --bank-size, "
        "or choose another task."
    )


def _episode(episodes: PolicyRun, column: int, config: TrainConfig) -> Transitions:
    """Returns the transitions of one episode, which was run for a step more than it has."""
    length = config.video.episode_length
    time = jnp.arange(length + 1)
    obs = np.stack([policy_obs(episodes.obs[t, column], t, config.env, config.video) for t in time])
    done = np.zeros(length, np.float32)
    done[-1] = 1.0
    return Transitions.of_leaves(obs=obs[:-1], action=episodes.action[:length, column], next_obs=obs[1:], done=done)
