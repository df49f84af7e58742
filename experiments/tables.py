"""A figure's results as table.md and table.json: a row for each job, interquartile means and 95 % intervals."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.plan import Job
from experiments.results import Results
from experiments.scores import METRICS, SELECTED
from experiments.verdicts import Verdict
from rcjax import __version__
from rcjax.envs.registry import KITCHEN
from rcjax.files import write_atomically
from rcjax.statistics import interquartile_mean, stratified_bootstrap

COLUMNS = (
    ("success, last policy", "last", "success_rate"),
    ("best by true return", "best", "success_rate"),
    ("by reward", "reward", "success_rate"),
    ("by plateau", "plateau", "success_rate"),
    ("return, last policy", "last", "true_return"),
    ("best by true return", "best", "true_return"),
    ("normalised return, last policy", "last", "normalized_return"),
    ("best by true return", "best", "normalized_return"),
)


def write_tables(results: Results, verdicts: Sequence[Verdict], title: str, folder: Path) -> None:
    """Writes table.md and table.json into `folder`, with what is finished so far."""
    rows = list(table_rows(results))
    text = f"# {title}\n\n{describe_setting(results, rows)}\n\n{as_markdown(rows)}\n{verdicts_as_markdown(verdicts)}"
    values = {
        "title": title,
        "scale": results.plan.scale.name,
        "encoder": _encoder_name(results),
        "rcjax": __version__,
        "rows": rows,
        "verdicts": [vars(verdict) for verdict in verdicts],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "table.json", lambda part: part.write_text(json.dumps(values, indent=1) + "\n"))
    write_atomically(folder / "table.md", lambda part: part.write_text(text))


def table_rows(results: Results) -> Iterator[dict[str, Any]]:
    """Yields a row for each finished job, and before those of a task one for its untrained policies."""
    for task, jobs in results.by_task().items():
        yield from _control(results, jobs, "untrained", f"{task}-untrained", "untrained policy")
        for job in jobs:
            if results.scores(job) is not None:
                scores = {policy: _all_metrics(results, job, policy) for policy in SELECTED}
                yield _row(job, scores) | results.about(job)
        yield from _control(results, jobs, "replay", f"{task}-replay", "the episode's actions replayed")


def _control(results: Results, jobs: Sequence[Job], policy: str, name: str, label: str) -> Iterator[dict[str, Any]]:
    """Yields the row of a policy that needs no training, from the first job that has it."""
    having = [job for job in jobs if results.scores(job, policy) is not None]
    if having:
        row = _row(having[0], {"last": _all_metrics(results, having[0], policy)})
        yield row | {"name": name, "learned from": label, "stage": ""}


def _row(job: Job, scores: dict[str, dict[str, list[float]] | None]) -> dict[str, Any]:
    found = {policy: values for policy, values in scores.items() if values is not None}
    return {"name": job.name, "task": job.task, "learned from": job.label, "stage": job.stage, "scores": found}


def _all_metrics(results: Results, job: Job, policy: str) -> dict[str, list[float]] | None:
    values = {metric: results.scores(job, policy, metric) for metric in METRICS}
    return {metric: value.tolist() for metric, value in values.items() if value is not None} or None


def describe_setting(results: Results, rows: Sequence[dict[str, Any]]) -> str:
    """Returns the scale, the encoder, the seeds, the starts and where it was run, as sentences."""
    base = results.plan.scale.base
    trained = [row for row in rows if "device" in row]
    where = sorted({row["device"] for row in trained})
    versions = ", ".join(f"{name} {number}" for name, number in (trained[0]["versions"] if trained else {}).items())
    seconds = sum(row["training_s"] for row in trained)
    weights = sorted({fingerprint for row in trained for fingerprint in row["encoders"]})
    kitchen = any(job.task in KITCHEN for job in results.jobs)
    return (
        f"Scale {results.plan.scale.name}, encoder {_encoder_name(results)}{_of_weights(weights)}: {base.seeds} seeds "
        f"of each setting, {base.n_envs} environments each, {base.total_env_steps:,} environment steps before "
        f"finetuning. Scores are of the policy's mean from {base.n_envs} starts that it was neither trained nor "
        f"selected on{ONE_START if kitchen else ''}: interquartile means over the seeds and 95 % bootstrap intervals. "
        "A normalised return is 0 for doing nothing and 1 for the task's expert. "
        f"{len(trained)} of {len(results.jobs)} settings are finished; they took {seconds / 3600:.1f} hours on "
        f"{', '.join(where) or 'no device'}. rcjax {__version__}"
        f"{', ' if versions else ''}{versions}."
    )


ONE_START = (
    " (the Kitchen has one start only, which is that of training, too: there every seed's success is 0 % or 100 %, and "
    "the best policies were selected by the episode that is scored)"
)


def _of_weights(fingerprints: Sequence[str]) -> str:
    return f" (weights {', '.join(fingerprints)})" if fingerprints else ""


def _encoder_name(results: Results) -> str:
    encoder = results.plan.scale.base.encoder or "none"
    return Path(encoder).name if "/" in encoder else encoder


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the table."""
    header = ["task", "learned from", "then", *(title for title, _, _ in COLUMNS), "minutes"]
    lines = [f"| {' | '.join(header)} |", "|".join(["", *[" --- "] * len(header), ""])]
    for row in rows:
        cells = [_summary(row["scores"].get(policy), metric) for _, policy, metric in COLUMNS]
        minutes = f"{row['training_s'] / 60:.0f}" if "training_s" in row else ""
        lines.append(f"| {' | '.join([row['task'], row['learned from'], row['stage'], *cells, minutes])} |")
    return "\n".join(lines) + "\n"


def _summary(scores: dict[str, list[float]] | None, metric: str) -> str:
    if scores is None:
        return ""
    values = np.array(scores[metric])
    if not math.isfinite(values.sum()):
        return "-"
    mean = interquartile_mean(values)
    if len(values) == 1:
        return _number(float(mean), metric)
    low, high = stratified_bootstrap(values[None])
    return f"{_number(float(mean), metric)} ({_number(float(low), metric)} to {_number(float(high), metric)})"


def _number(value: float, metric: str) -> str:
    if metric == "success_rate":
        return f"{value:.0%}"
    return f"{value:.0f}" if metric == "true_return" else f"{value:.2f}"


def verdicts_as_markdown(verdicts: Sequence[Verdict]) -> str:
    """Returns what the results say about the paper's claims."""
    lines = ["| claim of the paper | in these runs | because |", "| --- | --- | --- |"]
    lines += [f"| {v.claim}: {v.text} | **{v.outcome}** | {v.why} |" for v in verdicts]
    return "\n".join(lines) + "\n"
