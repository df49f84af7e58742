"""Policies that begin as another run's, and are trained further on another reward.

`release` continues as RoboCLIP's released code does: with the same critic and Adam's moments, although the new returns
may be hundreds of times as large. `sound` gives the critic time to learn them: see `config.finetuning`.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

from rcjax import ppo
from rcjax.checkpoints import Arrays, load_newest_intact
from rcjax.config import TrainConfig
from rcjax.loop import TrainState
from rcjax.selection import require_rule
from rcjax.storage import RunFolder


def load_pretrained(config: TrainConfig, log: Callable[[str], None]) -> Arrays:
    """Returns the arrays of the policy that `config.init_from` and `config.init_which` name, as part of a state.

    With the last policy, Adam's moments are among them, and the statistics by which its rewards were scaled. These are
    not known of selected policies. Damaged checkpoints that are passed over are reported to `log`.

    Raises:
        ValueError: There is no such run or policy, or it is of another task, observes something else, or has networks
            of other sizes.
    """
    run = RunFolder.open(Path(str(config.init_from)))
    _require_same_policies(config, run)
    checkpoint = load_newest_intact(run, log)
    if checkpoint is None:
        raise ValueError(f"--init-from {run.path} has no checkpoint, so no policy; train that run first.")
    if config.init_which == "last":
        return {name: array for name, array in checkpoint[1].items() if name.startswith(".ppo.")}
    require_rule(config.init_which, run.config)
    candidate = f".selected.{config.init_which}"
    arrays = checkpoint[1]
    if f"{candidate}.iteration" not in arrays or arrays[f"{candidate}.iteration"].min() < 0:
        raise ValueError(
            f"--init-from {run.path} has no evaluated policy to select by {config.init_which!r}; use --init-which last."
        )
    prefix = f"{candidate}.policy"
    return {name.replace(prefix, ".ppo.params"): array for name, array in arrays.items() if name.startswith(prefix)}


def _require_same_policies(config: TrainConfig, run: RunFolder) -> None:
    """Raises ValueError unless the run's policies can act in the config's environment."""
    theirs = run.config
    pairs = {
        "--task": (config.env.task, theirs.env.task),
        "--goal-hidden": (config.env.goal_hidden, theirs.env.goal_hidden),
        "--control": (config.env.control, theirs.env.control),
        "--time-in-obs": (config.env.time_in_obs, theirs.env.time_in_obs),
        "--net-arch": (tuple(config.ppo.net_arch), tuple(theirs.ppo.net_arch)),
        "--seed and --seeds": ((config.seed, config.seeds), (theirs.seed, theirs.seeds)),
    }
    for option, (ours, its) in pairs.items():
        if ours != its:
            raise ValueError(
                f"--init-from {run.path} was trained with {option} {its}, not {ours}, so its policies cannot be "
                "continued here; leave the option out."
            )


def begin_from(state: TrainState, pretrained: TrainState, config: TrainConfig) -> TrainState:
    """Returns `state` with the pretrained policies, and with what `config.finetune` says of critic and optimiser.

    `sound` also brings the standard deviation of actions back to at most 1.

    Args:
        state: The state of a new run.
        pretrained: The same with the pretrained run's parameters and, if they are known, Adam's moments.
        config: The run's configuration.
    """
    if config.finetune == "release":
        return state.replace(ppo=pretrained.ppo)
    params = pretrained.ppo.params
    critic = {**params["critic"], "out": state.ppo.params["critic"]["out"]}
    params = {**params, "critic": critic, "log_std": jnp.minimum(params["log_std"], 0.0)}
    opt_state = jax.vmap(ppo.optimizer(config.ppo).init)(params)
    return state.replace(ppo=state.ppo.replace(params=params, opt_state=opt_state))
