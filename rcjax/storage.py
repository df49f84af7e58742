"""The run folder: the only place that training writes to.

    runs/<name>/config.json       the TrainConfig
                target.npy        the demonstration's embedding [D]
                encoder/          the S3D weights, if they were drawn at random
                encoder.json      digests of the files in encoder/
                demonstration.mp4
                metrics.jsonl     one JSON object for every iteration and seed
                events.*          the same for TensorBoard, the interquartile mean of several seeds
                checkpoints/      Orbax, one an iteration kept, and N.damaged, one that was found damaged
                curve.png, policy.mp4
                .lock             while it is being trained

A folder is complete or absent: it is filled under a temporary name and renamed. What training makes comes later:
metrics, checkpoints, pictures, and the expert's demonstration.mp4.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rcjax.config import TrainConfig, from_json, to_json
from rcjax.events import Events
from rcjax.files import digests, os_errors, refuse_changed, require_writable_folder, write_atomically
from rcjax.s3d import Encoder, load_encoder, save_encoder
from rcjax.s3d.video import EMBEDDING_SIZE
from rcjax.statistics import mean_row
from rcjax.video_io import write_video

# What every row of metrics.jsonl has: whole numbers, and numbers or null.
ROW_COUNTS = ("iteration", "env_steps", "seed")
ROW_VALUES = ("video_reward", "true_return", "success_rate")
ROOM = 64 << 20  # bytes that a run takes: a random encoder's 33 MB, checkpoints and videos


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
                with os_errors(path):
                    save_encoder(building / "encoder", encoder)
                (building / "encoder.json").write_text(json.dumps(digests(building / "encoder"), indent=1) + "\n")
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
        try:
            return RunFolder(path, from_json(config.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{config} cannot be used: {error}") from error

    @property
    def demonstration_path(self) -> Path:
        return self.path / "demonstration.mp4"

    def target(self) -> np.ndarray:
        """The demonstration's embedding [D]. Raises ValueError if the file is damaged."""
        path = self.path / "target.npy"
        try:
            target = np.load(path, allow_pickle=False)
        except Exception as error:  # NumPy raises many kinds
            raise ValueError(f"{path} cannot be read ({error}); the run's folder is damaged, train anew.") from error
        if not isinstance(target, np.ndarray) or target.shape != (EMBEDDING_SIZE,) or target.dtype != np.float32:
            found = f"{target.dtype}{list(target.shape)}" if isinstance(target, np.ndarray) else type(target).__name__
            raise ValueError(f"{path} is {found}, expected float32[{EMBEDDING_SIZE}]; train anew.")
        if not np.isfinite(target).all():
            raise ValueError(f"{path} has numbers that are not finite; the run's folder is damaged, train anew.")
        return target

    def encoder_path(self) -> Path:
        return Path(self.config.encoder) if self.config.encoder else self.path / "encoder"

    def encoder(self) -> Encoder:
        """Raises ValueError if the encoder is damaged, or is no longer where it was."""
        path = self.encoder_path()
        if self.config.encoder is not None:
            return load_encoder(path)
        try:
            if path.with_suffix(".json").exists():
                refuse_changed(path, path.with_suffix(".json"))
            return load_encoder(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); train anew.") from error


def refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already; continue it with --resume {path}, or choose another --name.")


def require_room(path: Path) -> None:
    """Raises ValueError where a new run's folder cannot be made at `path`, or would not fit on the disk."""
    require_writable_folder(path.parent, path.name, ROOM, "choose another --runs or --name")


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
        self.events = Events(run.path, purge_step=int(rows[-1]["env_steps"]) + 1 if rows else None)

    def write(self, rows: Sequence[dict[str, float]]) -> None:
        """An iteration's rows, one a seed; TensorBoard gets their interquartile mean.

        Values that are not finite, such as an explained variance of nothing, are null in the file.
        """
        for row in rows:
            known = {name: value if math.isfinite(value) else None for name, value in row.items()}
            self.file.write(json.dumps(known, allow_nan=False) + "\n")
        self.file.flush()
        shown = {
            name: value for name, value in mean_row(rows).items() if name not in ("iteration", "env_steps", "seed")
        }
        self.events.write(shown, step=int(rows[0]["env_steps"]), wall_time=time.time())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # all is written already, or it was said that it could not be
            self.file.close()
        self.events.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_metrics(run: RunFolder) -> list[dict[str, float]]:
    """The rows of metrics.jsonl. A last line cut short by a kill is left out.

    Raises ValueError if any other line is damaged.
    """
    path = run.path / "metrics.jsonl"
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}).") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_metrics_row(line))
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # without its newline
                break
            raise ValueError(
                f"line {number} of {path} is damaged ({error}); remove it, or the file: the run goes on without."
            ) from error
    return rows


def _metrics_row(line: bytes) -> dict[str, float]:
    """Raises ValueError, with the reason alone, if the line is no row of metrics."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    for name, value in row.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise ValueError(f"{name} is {value!r:.50}, not a number")
    for name in ROW_COUNTS:
        if not isinstance(row.get(name), int):
            raise ValueError(f"{name} is {row.get(name)!r}, not a whole number")
    missing = [name for name in ROW_VALUES if name not in row]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    return row
