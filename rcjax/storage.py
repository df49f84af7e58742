"""The run folder: the only place that training writes to.

    runs/<name>/config.json       the TrainConfig
                target.npy        the demonstration's embedding [D]
                encoder/          the S3D weights, if they were drawn at random
                demonstration.mp4
                metrics.jsonl     one JSON object for every iteration and seed
                events.*          the same for TensorBoard, the interquartile mean of several seeds
                checkpoints/      Orbax, one an iteration kept
                curve.png, policy.mp4

A folder is complete or absent: it is filled under a temporary name and renamed. What training makes comes later:
metrics, checkpoints, pictures, and the expert's demonstration.mp4.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from tensorboardX import SummaryWriter

from rcjax.config import TrainConfig, from_json, to_json
from rcjax.files import write_atomically
from rcjax.s3d import Encoder, load_encoder, save_encoder
from rcjax.statistics import mean_row
from rcjax.video_io import write_video

KEPT_CHECKPOINTS = 2


class RunFolder:
    """An existing run's folder. `RunFolder.create` makes one, `RunFolder.open` finds one."""

    def __init__(self, path: Path, config: TrainConfig):
        self.path = path
        self.config = config

    @staticmethod
    def create(
        path: Path,
        config: TrainConfig,
        target: np.ndarray,
        encoder: Encoder,
        demonstration: np.ndarray | None,
    ) -> "RunFolder":
        """`demonstration` are frames for people, None where there are none yet. Raises ValueError if `path` exists."""
        refuse_existing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            if config.encoder is None:
                save_encoder(building / "encoder", encoder)
            np.save(building / "target.npy", target)
            if demonstration is not None:
                write_video(building / "demonstration.mp4", demonstration, fps=config.video.frames_per_second)
            (building / "config.json").write_text(to_json(config))
            building.chmod(0o755)
            building.rename(path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return RunFolder(path, config)

    @staticmethod
    def open(path: Path) -> "RunFolder":
        """Raises ValueError if `path` is not a run."""
        config = path / "config.json"
        if not config.is_file():
            raise ValueError(f"{path} is not a run: it has no config.json; name a folder that `rcjax train` wrote.")
        return RunFolder(path, from_json(config.read_text()))

    @property
    def demonstration_path(self) -> Path:
        return self.path / "demonstration.mp4"

    def target(self) -> np.ndarray:
        try:
            return np.load(self.path / "target.npy", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{self.path / 'target.npy'} cannot be read ({error}); the run's folder is damaged, train anew."
            ) from error

    def encoder_path(self) -> Path:
        return Path(self.config.encoder) if self.config.encoder else self.path / "encoder"

    def encoder(self) -> Encoder:
        return load_encoder(self.encoder_path())


def refuse_existing(path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} exists already; continue it with --resume {path}, or choose another --name.")


class Checkpoints:
    """The training state by iteration, in Orbax's format. Close to be sure that all is on disk."""

    def __init__(self, run: RunFolder):
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT_CHECKPOINTS)
        self.path = (run.path / "checkpoints").absolute()
        self.manager = ocp.CheckpointManager(self.path, options=options)

    def save(self, iteration: int, state: Any) -> None:
        if iteration not in self.manager.all_steps():
            self.manager.save(iteration, args=ocp.args.StandardSave(_storable(state)))

    def latest(self) -> int | None:
        return self.manager.latest_step()

    def restore(self, like: Any) -> Any:
        """The newest state, in the structure of `like`. Raises ValueError if there is none or its shapes differ."""
        iteration = self.latest()
        if iteration is None:
            raise ValueError(f"{self.path} holds no checkpoint; the run stopped before its first one, train anew.")
        try:
            stored = self.manager.restore(iteration, args=ocp.args.StandardRestore(_storable(like)))
        except Exception as error:
            raise ValueError(
                f"checkpoint {self.path / str(iteration)} does not fit this run's config "
                f"({str(error).splitlines()[0]}); restore its config.json or train anew."
            ) from error
        return _from_storable(dict(stored), like)

    def close(self) -> None:
        self.manager.wait_until_finished()
        self.manager.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _storable(state: Any) -> dict[str, Any]:
    """Leaves by their path, typed keys as their data: what is on disk does not depend on our classes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): jax.random.key_data(leaf) if _is_key(leaf) else leaf for path, leaf in leaves}


def _from_storable(stored: dict[str, Any], like: Any) -> Any:
    def leaf(path, old):
        new = stored[jax.tree_util.keystr(path)]
        return jax.random.wrap_key_data(new, impl=jax.random.key_impl(old)) if _is_key(old) else new

    return jax.tree_util.tree_map_with_path(leaf, like)


class Metrics:
    """metrics.jsonl and TensorBoard events, written as training goes."""

    def __init__(self, run: RunFolder, from_iteration: int):
        """What an interrupted run recorded after `from_iteration` is dropped: those iterations are run again."""
        self.path = run.path / "metrics.jsonl"
        rows = [row for row in read_metrics(run) if row["iteration"] <= from_iteration]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(self.path, lambda part: part.write_text(text))
        self.file = self.path.open("a")
        # Events are numbered by environment steps, so that is what tells TensorBoard which ones are run again.
        self.events = SummaryWriter(str(run.path), purge_step=int(rows[-1]["env_steps"]) + 1 if rows else None)

    def write(self, rows: Sequence[dict[str, float]]) -> None:
        """An iteration's rows, one a seed; TensorBoard gets their interquartile mean.

        Values that are not finite, such as an explained variance of nothing, are null in the file.
        """
        for row in rows:
            known = {name: value if math.isfinite(value) else None for name, value in row.items()}
            self.file.write(json.dumps(known, allow_nan=False) + "\n")
        self.file.flush()
        for name, value in mean_row(rows).items():
            if name not in ("iteration", "env_steps", "seed"):
                self.events.add_scalar(name, value, global_step=int(rows[0]["env_steps"]))

    def close(self) -> None:
        self.file.close()
        self.events.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_metrics(run: RunFolder) -> list[dict[str, float]]:
    """The rows of metrics.jsonl. A last line cut short by a kill is left out."""
    path = run.path / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
