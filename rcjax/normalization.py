"""Normalised returns: 0 is doing nothing, and 1 is the task's expert policy."""

import json

import numpy as np
from jaxtyping import Float

from rcjax.config import TrainConfig
from rcjax.envs.experts import Policy, run_policy
from rcjax.envs.fingerprint import fingerprint
from rcjax.envs.mjx_env import NoExpertError
from rcjax.files import cache_folder, write_atomically
from rcjax.world import World


def normalize_returns(returns: Float[np.ndarray, "*S"], world: World, config: TrainConfig) -> Float[np.ndarray, "*S"]:
    """Returns (R - R_nothing) / (R_expert - R_nothing), for mean true returns over the first evaluation starts.

    NaN where the expert is paid no more than doing nothing, and where there is no expert.
    """
    nothing, expert = reference_returns(world, config)
    return (returns - nothing) / (expert - nothing) if expert > nothing else np.full_like(returns, np.nan)


def reference_returns(world: World, config: TrainConfig) -> tuple[float, float]:
    """Returns the mean true returns of an action of zeros and of the expert policy, computed once and cached.

    They are over an episode from each of the first `config.n_envs` starts of the evaluation bank, as in an evaluation.
    The return of an expert that does not exist is NaN.
    """
    numbers = config.n_envs, config.video.episode_length, config.env.reward_version
    key = fingerprint(world.env, world.eval_params, *numbers)
    path = cache_folder() / "returns" / f"{world.env.name}-{key}.json"
    try:
        stored = json.loads(path.read_text())
        return float(stored["nothing"]), float(stored["expert"])
    except (OSError, ValueError, KeyError, TypeError):
        pass

    def do_nothing(obs: np.ndarray) -> np.ndarray:
        return np.zeros((len(obs), world.env.num_actions))

    values = {
        "nothing": _mean_return(do_nothing, world, config),
        "expert": _expert_return(world, config),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda part: part.write_text(json.dumps(values)))
    except OSError:  # a cache that cannot be written only costs time
        pass
    return values["nothing"], values["expert"]


def _expert_return(world: World, config: TrainConfig) -> float:
    try:
        return _mean_return(world.env.expert(), world, config)
    except NoExpertError:
        return float("nan")


def _mean_return(policy: Policy, world: World, config: TrainConfig) -> float:
    rows = (np.arange(config.n_envs) % world.eval_params.bank_size).tolist()
    episodes = run_policy(world.env, world.eval_params, policy, rows, config.video.episode_length)
    return float(episodes.reward.sum(0).mean())
