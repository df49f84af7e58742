"""The result of `rcjax reward` as text: demonstrations in the order of their similarity with a video."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from rcjax.config import TaskSpec, VideoConfig
from rcjax.encoders import Encoder
from rcjax.messages import one_line
from rcjax.reward_curve import RewardCurve
from rcjax.taskspec import describe_terms

MAX_TEXT = 100  # characters of a sentence or a path in the table


def best_first(similarities: Float[np.ndarray, " M"]) -> list[int]:
    """Returns the indices of the demonstrations from the most to the least similar; equal ones stay in their order."""
    return np.argsort(-similarities, kind="stable").tolist()


def format_table(specs: Sequence[TaskSpec], similarities: Float[np.ndarray, " M"]) -> str:
    """Returns a table with a line for each demonstration, the best first."""
    lines = [f"{'rank':>4}  {'similarity':>10}  demonstration"]
    for rank, i in enumerate(best_first(similarities), start=1):
        lines.append(f"{rank:>4}  {similarities[i]:>10.6g}  {_describe_in_line(specs[i])}")
    return "\n".join(lines)


def to_json(
    path: Path,
    encoder: Encoder,
    config: VideoConfig,
    specs: Sequence[TaskSpec],
    similarities: Float[np.ndarray, " M"],
    curve: RewardCurve | None,
) -> str:
    """Returns the similarities, and the curve if there is one, as one JSON object; demonstrations come best first."""
    order = best_first(similarities)
    result: dict[str, Any] = {
        "video": str(path),
        "encoder": encoder.provenance,
        "clip": {"frames": config.n_frames, "size": config.size},
        "demonstrations": [
            {**_describe(specs[i]), "similarity": float(similarities[i]), "rank": rank}
            for rank, i in enumerate(order, start=1)
        ],
    }
    if curve is not None:
        result["curve"] = {
            "unit": curve.unit,
            "times": curve.times.tolist(),
            "prefix_frames": curve.lengths.tolist(),
            "values": [curve.values[i].tolist() for i in order],
        }
    return json.dumps(result)


def _describe_in_line(spec: TaskSpec) -> str:
    if len(spec.terms) == 1:
        (term,) = spec.terms
        return f"{term.kind:5}  {one_line(term.source, MAX_TEXT)}"
    name = {"text": lambda source: f"“{source}”", "video": str}
    return one_line(describe_terms(spec.terms, lambda term: name[term.kind](term.source), spec.combine), 3 * MAX_TEXT)


def _describe(spec: TaskSpec) -> dict[str, Any]:
    terms = [{"kind": term.kind, {"text": "text", "video": "file"}[term.kind]: term.source} for term in spec.terms]
    if len(terms) == 1:
        return terms[0]
    signed = [described | {"sign": term.sign} for described, term in zip(terms, spec.terms, strict=True)]
    return {"kind": "combination", "combine": spec.combine, "terms": signed}
