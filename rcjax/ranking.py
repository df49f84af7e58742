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

MAX_TEXT = 100  # characters of a sentence or a path in the table


def best_first(similarities: Float[np.ndarray, " M"]) -> list[int]:
    """Returns the indices of the demonstrations from the most to the least similar; equal ones stay in their order."""
    return np.argsort(-similarities, kind="stable").tolist()


def format_table(specs: Sequence[TaskSpec], similarities: Float[np.ndarray, " M"]) -> str:
    """Returns a table with a line for each demonstration, the best first."""
    lines = [f"{'rank':>4}  {'similarity':>10}  demonstration"]
    for rank, i in enumerate(best_first(similarities), start=1):
        kind, what = ("text", specs[i].text) if specs[i].video is None else ("video", specs[i].video)
        lines.append(f"{rank:>4}  {similarities[i]:>10.6g}  {kind:5}  {one_line(what or '', MAX_TEXT)}")
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


def _describe(spec: TaskSpec) -> dict[str, str | None]:
    if spec.text is not None:
        return {"kind": "text", "text": spec.text}
    return {"kind": "video", "file": spec.video}
