"""Texts for the user of a run: the work ahead, the result, and the title of the plot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rcjax.config import Term, TrainConfig, Which
from rcjax.encoders import NAMED, RANDOM
from rcjax.evaluate import EvaluatedRun
from rcjax.normalization import normalize_returns
from rcjax.program import Program, Row, Rows
from rcjax.statistics import interquartile_mean, interquartile_mean_row, stratified_bootstrap
from rcjax.storage import RunFolder
from rcjax.taskspec import describe_terms
from rcjax.world import World

METHODS = {"gail": "GAIL", "airl": "AIRL", "bc": "behaviour cloning"}


def describe_work(program: Program) -> str:
    """Returns how much is stepped, drawn and embedded at a time, and on which devices."""
    config, layout = program.config, program.layout
    seeds = f"{config.seeds} seeds x " if config.seeds > 1 else ""
    devices = "device" if layout.n_devices == 1 else "devices"
    size = config.video.size
    drawn = f", {size}x{size} frames, {program.micro_batch} episodes at a time" if config.reward == "video" else ""
    kind = layout.mesh.devices.flat[0].device_kind
    return f"{seeds}{config.n_envs} environments{drawn}, on {layout.n_devices} {kind} {devices}"


def describe_result(run: RunFolder, rows: Rows) -> str:
    """Returns the final evaluation's numbers, of which each seed has one row, and what the run's folder holds."""
    row, seeds = interquartile_mean_row(rows), run.config.seeds
    reward = row[f"eval_{run.config.reward_metric}"]
    whose = "" if seeds == 1 else f" of each of {seeds} seeds (interquartile means)"
    return (
        f"Success rate {row['eval_success_rate']:.0%}, true return {row['eval_true_return']:.1f}, "
        f"{run.config.reward} reward {reward:.4g} over {run.config.n_envs} episodes of the policy's mean{whose}.\n"
        f"Written to {run.path}: metrics.jsonl, curve.png, policy.mp4, checkpoints."
    )


def describe_evaluation(run: RunFolder, evaluated: EvaluatedRun, which: Which) -> str:
    """Returns a table of an evaluation on the test starts: a line for each metric, and a column for each seed.

    Several seeds have two columns more, their interquartile mean and its 95 % bootstrap interval.
    """
    config = run.config
    iterations = ", ".join(map(str, sorted(set(evaluated.iterations))))
    title = (
        f"{plot_title(config)}\npolicy: {which} (iteration {iterations} of {config.n_iterations}); "
        f"{config.n_envs} episodes of its mean from test starts"
    )
    seeds = [f"seed {config.seed + i}" for i in range(config.seeds)]
    return _evaluation_table(title, evaluated.rows, evaluated.program.world, config, seeds)


def describe_replay(run: RunFolder, world: World, row: Row) -> str:
    """Returns such a table of a demonstration that was replayed."""
    config = run.config
    title = f"{config.env.task}, the expert's actions replayed; {config.n_envs} episodes from test starts"
    return _evaluation_table(title, [row], world, config, ["replay"])


def _evaluation_table(title: str, rows: Rows, world: World, config: TrainConfig, columns: Sequence[str]) -> str:
    values = {name.removeprefix("eval_"): np.array([row[name] for row in rows]) for name in rows[0]}
    values["normalized_return"] = normalize_returns(values["true_return"], world, config)
    lines = [title, _table_line("", [*(["IQM", "95 % interval"] if len(rows) > 1 else []), *columns])]
    for name in ("success_rate", "true_return", "normalized_return", config.reward_metric):
        if name in values:
            lines.append(_table_line(name, [*_summary(values[name]), *(f"{value:.4g}" for value in values[name])]))
    return "\n".join(lines)


def _summary(scores: np.ndarray) -> list[str]:
    """Returns the interquartile mean of several seeds and its interval; nothing for a single seed."""
    if len(scores) == 1:
        return []
    low, high = stratified_bootstrap(scores[None])
    return [f"{interquartile_mean(scores):.4g}", f"{low:.4g} to {high:.4g}"]


def _table_line(name: str, cells: Sequence[str]) -> str:
    return f"{name:>20}" + "".join(f"  {cell:>{18 if ' to ' in cell or 'inter' in cell else 9}}" for cell in cells)


def plot_title(config: TrainConfig) -> str:
    """Returns the task, what is learned from, and the seeds, in one line."""
    begun = "" if config.init_from is None else f", finetuned ({config.finetune}) from {Path(config.init_from).name}"
    return f"{config.env.task} from {_describe_source(config)}{begun}, {config.seeds_text}"


def _describe_source(config: TrainConfig) -> str:
    """Returns the demonstration and the encoder, or the reward that needs none."""
    if config.reward == "dense":
        return "its dense reward"
    if config.uses_expert_episodes:
        episodes = "episode" if config.expert_episodes == 1 else "episodes"
        return f"{config.expert_episodes} {episodes} of the expert by {METHODS[config.reward]}"
    name = config.encoder or RANDOM  # configs of earlier versions say None for a random encoder
    encoder = f"encoder {name}" if name in NAMED else "converted weights"
    demonstration = describe_terms(config.spec.terms, _name_term, config.spec.combine)
    return f"{demonstration}, {encoder}"


def _name_term(term: Term) -> str:
    return f"“{term.source}”" if term.kind == "text" else f"video {Path(term.source).name}"
