"""The scores of a run's policies, on starts that they were neither trained nor selected on, kept in its folder."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from rcjax.config import Which
from rcjax.evaluate import Evaluator, replay_demonstration
from rcjax.files import write_atomically
from rcjax.normalization import normalize_returns
from rcjax.program import Rows
from rcjax.storage import RunFolder, read_metrics
from rcjax.world import World

SELECTED: tuple[Which, ...] = ("last", "best", "reward", "plateau")
METRICS = ("success_rate", "true_return", "normalized_return")
PACKAGES = ("jax", "mujoco", "mujoco-mjx", "metaworld", "flax", "optax")

Scores = dict[str, dict[str, list[float]]]
"""The scores of each seed by the name of the policy and of the metric"""


def keep_scores(run: RunFolder, devices: int | None = None) -> bool:
    """Computes the run's scores and keeps them in its folder as scores.json; returns False if they are there already.

    They are those of each policy that `rcjax eval --which` names ("policies"), of the policy before any training
    ("untrained"), and of the demonstration's actions replayed, where actions were cloned from scratch ("replay"). With
    them are the seconds of training, the device, the versions of packages, the encoder's fingerprint, and a digest of
    the scores of the run that it began from.
    """
    path = run.path / "scores.json"
    if path.exists():
        return False
    text = json.dumps(compute_scores(run, devices), indent=1) + "\n"
    write_atomically(path, lambda part: part.write_text(text))
    return True


def compute_scores(run: RunFolder, devices: int | None = None) -> dict[str, Any]:
    evaluator, config = Evaluator(run, devices=devices), run.config
    world = evaluator.program.world
    rules = SELECTED[:2] if config.reward == "bc" else SELECTED
    policies = {which: _scores(evaluator.evaluate(which).rows, world, run) for which in rules}
    scores: dict[str, Any] = {"policies": policies}
    if config.init_from is None:
        scores["untrained"] = _scores(evaluator.evaluate_untrained().rows, world, run)
    if config.init_from is None and config.reward == "bc":
        scores["replay"] = _scores([replay_demonstration(run)[1]], world, run)
    encoder = run.encoder()
    if encoder is not None:
        scores["encoder"] = encoder.fingerprint
    if config.init_from is not None:
        scores["began_from"] = digest_of(Path(config.init_from))
    return scores | {
        "training_s": training_seconds(run),
        "device": jax.devices()[0].device_kind,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _scores(rows: Rows, world: World, run: RunFolder) -> dict[str, list[float]]:
    returns = np.array([row["eval_true_return"] for row in rows])
    return {
        "success_rate": [row["eval_success_rate"] for row in rows],
        "true_return": returns.tolist(),
        "normalized_return": normalize_returns(returns, world, run.config).tolist(),
    }


def digest_of(path: Path) -> str | None:
    """Returns a digest of a run's scores, which another training would not have; None for a run without scores."""
    file = path / "scores.json"
    if not file.exists():
        return None
    policies = json.loads(file.read_text())["policies"]
    return hashlib.sha256(json.dumps(policies, sort_keys=True).encode()).hexdigest()[:16]


def require_same_origin(path: Path, fingerprint: str | None) -> None:
    """Raises ValueError for a run whose encoder has other weights, or that began from another policy than there is now.

    `fingerprint` is that of the run's encoder as it is now, or None if it does not matter.
    """
    run, file = RunFolder.open(path), path / "scores.json"
    scores = json.loads(file.read_text()) if file.exists() else {}
    way_out = "give another folder with --out, or remove that run."
    if fingerprint is not None:
        encoder = None if scores else run.encoder()
        found = scores.get("encoder", "unknown") if encoder is None else encoder.fingerprint
        if found != fingerprint:
            raise ValueError(f"{path} was made with an encoder of weights {found}, expected {fingerprint}; {way_out}")
    parent, began_from = run.config.init_from, scores.get("began_from")
    if parent is not None and began_from is not None and digest_of(Path(parent)) not in (None, began_from):
        raise ValueError(f"{path} began from a policy that {parent} no longer has; {way_out}")


def training_seconds(run: RunFolder) -> float:
    """Returns the wall-clock seconds of the run's iterations and their evaluations, without compiling."""
    rows = read_metrics(run)
    return float(sum(row["seconds"] for row in rows if row["seed"] == run.config.seed and "seconds" in row))


def all_seeds(paths: Sequence[Path], policy: str, metric: str) -> Float[np.ndarray, " S"] | None:
    """Returns a metric of the policies that `policy` names of all seeds of these runs; None if one has no scores.

    `policy` is one of those of `rcjax eval --which`, or "untrained" or "replay".
    """
    values: list[float] = []
    for path in paths:
        if not (path / "scores.json").exists():
            return None
        scores = json.loads((path / "scores.json").read_text())
        scores = scores["policies"] | {name: scores[name] for name in ("untrained", "replay") if name in scores}
        if policy not in scores:
            return None
        values += scores[policy][metric]
    return np.array(values, float)
