"""Evaluation of a trained policy."""

import dataclasses
import sys
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from rcjax.checkpoints import checkpoints_path, load_newest_intact, require_matching_state, restore_state
from rcjax.config import TrainConfig, Which
from rcjax.envs.experts import run_policy
from rcjax.loop import ScoredEpisodes, TrainState, state_shapes
from rcjax.program import Program, Row, Rows, require_machine
from rcjax.selection import Candidate, require_rule
from rcjax.storage import RunFolder
from rcjax.world import World, build_world

Starts = Literal["eval", "test"]
"""The starts from which evaluations during training run, or those that no policy was trained or selected on"""


@dataclasses.dataclass(frozen=True)
class EvaluatedRun:
    """What `evaluate_run` returns.

    `rows` has the metrics of each seed with the prefix `eval_`, and `iterations` the iteration that each seed's policy
    is from.
    """

    program: Program
    rows: Rows
    scored: ScoredEpisodes
    iterations: list[int]


def evaluate_run(run: RunFolder, which: Which = "last", starts: Starts = "test") -> EvaluatedRun:
    """Runs the mean of each seed's policy from each of the first `n_envs` starts; see `Evaluator`."""
    return Evaluator(run, starts).evaluate(which)


class Evaluator:
    """The newest checkpoint of a run, of which several policies can be evaluated by one compiled program.

    Nothing is written, so another process may train the run at the same time.
    """

    def __init__(self, run: RunFolder, starts: Starts = "test", devices: int | None = None):
        """Reads the run and builds its program for so many devices, by default as many as share the work evenly.

        Raises:
            ValueError: The run has no checkpoint or no intact one, or the checkpoint does not fit the config.
        """
        require_machine(run.config, devices)
        checkpoint = load_newest_intact(run, _warn)
        if checkpoint is None:
            raise ValueError(
                f"{checkpoints_path(run)} has no checkpoint, because the run stopped before its first one; train a new "
                "run."
            )
        self.run, self.arrays = run, checkpoint[1]
        demonstration, encoder = run.demonstration(), run.encoder()
        world = build_world(run.config if starts == "eval" else _on_test_starts(run.config))
        require_matching_state(run, *checkpoint, like=state_shapes(run.config, world.env))
        self.program = Program(run.config, world, encoder, demonstration, devices)

    def evaluate(self, which: Which = "last") -> EvaluatedRun:
        """Runs the mean of each seed's policy from each of the first `n_envs` starts.

        `which` is the newest policy, or one that was selected by a rule of `selection.Selected`. Raises ValueError if
        no policy was evaluated before the checkpoint, or if the episodes have numbers that are not finite.
        """
        state = restore_state(self.arrays, self.program.initial_state())
        state, iterations = _with_policy(self.run, state, which)
        _, rows, scored = self.program.evaluate(state)
        return EvaluatedRun(self.program, rows, scored, iterations)

    def evaluate_untrained(self) -> EvaluatedRun:
        """Runs the mean of each seed's policy before any training from the same starts. Raises as `evaluate` does."""
        _, rows, scored = self.program.evaluate(self.program.initial_state())
        return EvaluatedRun(self.program, rows, scored, [0] * self.run.config.seeds)


def replay_demonstration(run: RunFolder) -> tuple[World, Row]:
    """Repeats the actions of the expert's first episode, whatever is observed, from each of the first test starts.

    It is the control for what is cloned from demonstrations: it needs no policy.

    Returns:
        The world with the test starts, and the metrics of the episodes with the prefix `eval_`.

    Raises:
        ValueError: The run does not learn from the expert's episodes.
    """
    config = run.config
    if not config.uses_expert_episodes:
        raise ValueError(
            f"{run.path} learned from no actions (--reward {config.reward}), so there is nothing to replay; give a run "
            "with --reward bc, gail or airl."
        )
    actions = iter(run.demonstration().action[: config.video.episode_length])
    world = build_world(_on_test_starts(config))

    def replay(obs: np.ndarray) -> np.ndarray:
        return np.tile(next(actions), (len(obs), 1))

    rows = (np.arange(config.n_envs) % world.eval_params.bank_size).tolist()
    episodes = run_policy(world.env, world.eval_params, replay, rows, config.video.episode_length)
    success, true_return = episodes.success.any(0).mean(), episodes.reward.sum(0).mean()
    return world, {"eval_true_return": float(true_return), "eval_success_rate": float(success)}


def _on_test_starts(config: TrainConfig) -> TrainConfig:
    """Returns the config with the test starts in the place of those of evaluations."""
    return dataclasses.replace(config, env=dataclasses.replace(config.env, eval_seed=config.env.first_test_seed))


def _with_policy(run: RunFolder, state: TrainState, which: Which) -> tuple[TrainState, list[int]]:
    """Returns the state with the policy that `which` names, and the iteration that each seed's is from."""
    if which == "last":
        return state, [int(state.iteration)] * run.config.seeds
    require_rule(which, run.config)
    candidate: Candidate = getattr(state.selected, which)
    iterations = candidate.iteration.tolist()
    if min(iterations) < 0:
        raise ValueError(
            f"no policy of {run.path} was evaluated before its newest checkpoint, so none can be selected by "
            f"{which!r}; use --which last, or train with --eval-every."
        )
    params = jax.tree.map(jnp.copy, candidate.policy)  # a program cannot take over the same memory twice
    return state.replace(ppo=state.ppo.replace(params=params)), iterations


def _warn(message: str) -> None:
    print(f"rcjax: {message}", file=sys.stderr)
