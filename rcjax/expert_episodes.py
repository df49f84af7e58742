"""Observations and actions of the task's expert policy, from which GAIL, AIRL and behaviour cloning learn."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from rcjax.config import TrainConfig
from rcjax.envs.experts import PolicyRun, run_expert
from rcjax.envs.mjx_env import EnvState
from rcjax.rollout import policy_obs
from rcjax.types import Transitions
from rcjax.world import World

MAX_BATCH = 64  # episodes that are run at a time


def expert_transitions(world: World, config: TrainConfig) -> Transitions:
    """Returns the transitions of `config.expert_episodes` successful episodes of the task's expert policy.

    They are those of the first starts of the training bank, each different from the others, from which the expert
    succeeds within an episode, which it has to run to its end. Observations are those of the run's policy, so they hide
    the goal and show the time if the config says so.

    Returns:
        NumPy arrays [expert_episodes * episode_length], episode by episode.

    Raises:
        ValueError: The expert does not succeed from as many different starts of the bank. (The Kitchen has only one.)
    """
    n_episodes, starts = config.expert_episodes, _different_starts(world.train_params.bank)
    batch = min(max(8, n_episodes), MAX_BATCH, len(starts))
    chosen: list[Transitions] = []
    for first in range(0, len(starts), batch):
        tried = starts[first : first + batch]
        rows = np.resize(tried, batch).tolist()  # batches of one size, for which one program is compiled
        episodes = run_expert(world.env, world.train_params, rows, config.video.episode_length + 1)
        succeeded = np.flatnonzero(episodes.success[:-1, : len(tried)].any(0))
        chosen += [_episode(episodes, column, config) for column in succeeded.tolist()]
        if len(chosen) >= n_episodes:
            return jax.tree.map(lambda *x: np.concatenate(x), *chosen[:n_episodes])
    raise ValueError(
        f"the expert policy of {world.env.name} succeeds within {config.video.episode_length} steps from {len(chosen)} "
        f"of {len(starts)} different starts, fewer than expert_episodes={n_episodes}; lower it, raise --episode-length "
        "or --bank-size, or choose another task."
    )


def _different_starts(bank: EnvState) -> Int[np.ndarray, " N"]:
    """Returns the entries of the bank that differ from all before them, in order."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((bank.physics, bank.task))]
    first: dict[bytes, int] = {}
    for entry in range(bank.time.shape[0]):
        first.setdefault(b"".join(leaf[entry].tobytes() for leaf in leaves), entry)
    return np.array(list(first.values()))


def _episode(episodes: PolicyRun, column: int, config: TrainConfig) -> Transitions:
    """Returns the transitions of one episode, which was run for a step more than it has."""
    length = config.video.episode_length
    time = jnp.arange(length + 1)
    obs = np.stack([policy_obs(episodes.obs[t, column], t, config.env, config.video) for t in time])
    done = np.zeros(length, np.float32)
    done[-1] = 1.0
    return Transitions.of_leaves(obs=obs[:-1], action=episodes.action[:length, column], next_obs=obs[1:], done=done)
