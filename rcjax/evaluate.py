"""Evaluation of a trained policy."""

import sys

from rcjax.checkpoints import checkpoints_path, load_newest_intact, require_matching_state, restore_state
from rcjax.loop import ScoredEpisodes, state_shapes
from rcjax.program import Program, Rows, require_machine
from rcjax.storage import RunFolder
from rcjax.world import build_world


def evaluate_run(run: RunFolder) -> tuple[Program, Rows, ScoredEpisodes]:
    """Runs the mean of each seed's newest policy from each of the first `n_envs` evaluation starts.

    Nothing is written, so another process may train the run at the same time.

    Returns:
        The program, the metrics of each seed with the prefix `eval_`, and the episodes.

    Raises:
        ValueError: The run has no checkpoint or no intact one, the checkpoint does not fit the config, or the episodes
            have numbers that are not finite.
    """
    require_machine(run.config, None)
    checkpoint = load_newest_intact(run, _warn)
    if checkpoint is None:
        raise ValueError(
            f"{checkpoints_path(run)} has no checkpoint, because the run stopped before its first one; train a new run."
        )
    demonstration, encoder, world = run.demonstration(), run.encoder(), build_world(run.config)
    require_matching_state(run, *checkpoint, like=state_shapes(run.config, world.env))
    program = Program(run.config, world, encoder, demonstration)
    _, rows, scored = program.evaluate(restore_state(checkpoint[1], program.initial_state()))
    return program, rows, scored


def _warn(message: str) -> None:
    print(f"rcjax: {message}", file=sys.stderr)
