"""The run folder: the only place that training writes to.

    runs/<name>/config.json       the TrainConfig
                target.npy        the embedding of the demonstration [K D], if the reward looks at videos
                encoder/          the encoder's weights then, unless they are in a folder of the user's
                encoder.json      digests of the files in encoder/
                expert.npz        the expert's transitions, if the reward learns from them
                demonstration.mp4
                metrics.jsonl     one JSON object for every iteration and seed
                events.*          the same for TensorBoard, as the interquartile mean of the seeds
                checkpoints/      Orbax checkpoints, in folders named after their iteration N; N.damaged if damaged
                curve.png, policy.mp4
                .lock             exists while the run is being trained

A folder is either complete or absent, because it is filled under a temporary name and then renamed. Training adds the
metrics, checkpoints, pictures, and the expert's demonstration.mp4 later.
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

from rcjax.config import TrainConfig, read_config, to_json
from rcjax.encoders import NAMED, Encoder, load_encoder, save_encoder
from rcjax.events import EventWriter
from rcjax.files import (
    digests,
    require_unchanged,
    require_writable_folder,
    translate_tensorstore_errors,
    write_atomically,
)
from rcjax.statistics import interquartile_mean_row
from rcjax.types import Demonstration, Transitions
from rcjax.video_io import write_video

# Every row of metrics.jsonl has these integers, and these values, which are numbers or null.
ROW_COUNTS = ("iteration", "env_steps", "seed")
ROW_VALUES = ("true_return", "success_rate")
RUN_DISK_BYTES = 64 << 20  # free bytes that a run needs: a random encoder of 33 MB, checkpoints and videos


class RunFolder:
    """The folder of an existing run. `RunFolder.create` makes a new one, and `RunFolder.open` opens an existing one."""

    def __init__(self, path: Path, config: TrainConfig):
        self.path = path
        self.config = config

    @staticmethod
    def create(
        path: Path,
        config: TrainConfig,
        demonstration: Demonstration,
        encoder: Encoder | None,
        shown: np.ndarray | None,
    ) -> "RunFolder":
        """Makes the folder of a new run.

        Args:
            path: The folder to make.
            config: The run's configuration.
            demonstration: What the reward compares episodes with: the targets' embeddings [K D], the expert's
                transitions [M], or None.
            encoder: The encoder, or None if the reward looks at no videos. It is saved unless `config.encoder` is the
                path of a folder.
            shown: The frames of demonstration.mp4, a video to watch; None makes no file.

        Raises:
            ValueError: `path` exists already.
            OSError: The folder cannot be written.
        """
        require_new_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            if encoder is not None and _is_kept_in_run(config):
                with translate_tensorstore_errors(path):
                    save_encoder(building / "encoder", encoder)
                (building / "encoder.json").write_text(json.dumps(digests(building / "encoder"), indent=1) + "\n")
            if config.reward == "video":
                np.save(building / "target.npy", demonstration)
            elif config.uses_expert_episodes:
                np.savez(building / "expert.npz", **demonstration.__dict__)
            if shown is not None:
                write_video(building / "demonstration.mp4", shown, fps=config.frames_per_second)
            (building / "config.json").write_text(to_json(config))
            building.chmod(0o755)
            building.rename(path)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        return RunFolder(path, config)

    @staticmethod
    def open(path: Path) -> "RunFolder":
        """Returns the run in the folder `path`. Raises ValueError if it is not a run, or if its config is damaged."""
        return RunFolder(path, read_config(path))

    @property
    def demonstration_path(self) -> Path:
        return self.path / "demonstration.mp4"

    def demonstration(self) -> Demonstration:
        """Returns what the reward compares episodes with, as `create` takes it.

        Raises ValueError if the file is damaged.
        """
        if self.config.reward == "video":
            return self._targets()
        return self._expert() if self.config.uses_expert_episodes else None

    def _targets(self) -> np.ndarray:
        path = self.path / "target.npy"
        try:
            target = np.load(path, allow_pickle=False)
        except Exception as error:  # NumPy raises many types
            raise ValueError(f"{path} cannot be read ({error}); train a new run.") from error
        if not isinstance(target, np.ndarray) or target.ndim not in (1, 2) or target.dtype != np.float32:
            found = f"{target.dtype}{list(target.shape)}" if isinstance(target, np.ndarray) else type(target).__name__
            raise ValueError(f"{path} is {found}, expected float32 vectors; train a new run.")
        if not np.isfinite(target).all():
            raise ValueError(f"{path} has numbers that are not finite; train a new run.")
        return np.atleast_2d(target)  # runs of earlier versions have one vector

    def _expert(self) -> Transitions:
        path = self.path / "expert.npz"
        n_expert = self.config.expert_episodes * self.config.video.episode_length
        try:
            with np.load(path, allow_pickle=False) as stored:
                transitions = Transitions.of_leaves(**stored)
        except Exception as error:  # NumPy and zipfile raise many types
            raise ValueError(f"{path} cannot be read ({error}); train a new run.") from error
        arrays = list(transitions.__dict__.values())
        if any(x.dtype != np.float32 or x.shape[:1] != (n_expert,) or not np.isfinite(x).all() for x in arrays):
            raise ValueError(f"{path} does not have {n_expert} finite transitions in float32; train a new run.")
        return transitions

    def encoder_path(self) -> Path:
        """Returns the folder of the encoder's weights, which is in the run's folder if the config names no path."""
        return self.path / "encoder" if _is_kept_in_run(self.config) else Path(str(self.config.encoder))

    def encoder(self) -> Encoder | None:
        """Loads the encoder; None if the reward looks at no videos. Raises ValueError if it is damaged or missing."""
        if self.config.reward != "video":
            return None
        path = self.encoder_path()
        if not _is_kept_in_run(self.config):
            return load_encoder(path)
        try:
            if path.with_suffix(".json").exists():
                require_unchanged(path, path.with_suffix(".json"))
            return load_encoder(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); train a new run.") from error


def _is_kept_in_run(config: TrainConfig) -> bool:
    """Whether the run's folder has a copy of the encoder: so it has of a random and of a bundled one.

    Configs of earlier versions say None for a random encoder.
    """
    return config.encoder in (None, *NAMED)


def require_new_path(path: Path) -> None:
    """Raises ValueError if something exists at `path`."""
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already; continue it with --resume {path}, or choose another --name.")


def require_disk_space(path: Path) -> None:
    """Raises ValueError if a new run's folder cannot be made at `path`, or would not fit on the disk."""
    require_writable_folder(path.parent, path.name, RUN_DISK_BYTES, "choose another --runs or --name")


class MetricsWriter:
    """Writes metrics.jsonl and TensorBoard events during training. Use it in a `with` statement."""

    def __init__(self, run: RunFolder, from_iteration: int):
        """Opens the files, and drops rows after `from_iteration`: an interrupted run repeats these iterations."""
        self.path = run.path / "metrics.jsonl"
        rows = [row for row in read_metrics(run) if row["iteration"] <= from_iteration]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(self.path, lambda part: part.write_text(text))
        self.file = self.path.open("a")
        # The steps of events are environment steps; this tells TensorBoard which ones are repeated.
        self.events = EventWriter(run.path, purge_step=int(rows[-1]["env_steps"]) + 1 if rows else None)

    def write(self, rows: Sequence[dict[str, float]]) -> None:
        """Writes the rows of an iteration, of which every seed has one. TensorBoard gets their interquartile mean.

        Values that are not finite, such as the explained variance of constant returns, are null in metrics.jsonl and
        left out for TensorBoard.
        """
        for row in rows:
            finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
            self.file.write(json.dumps(finite, allow_nan=False) + "\n")
        self.file.flush()
        mean = interquartile_mean_row(rows)
        scalars = {name: value for name, value in mean.items() if name not in ROW_COUNTS and math.isfinite(value)}
        self.events.write(scalars, step=int(rows[0]["env_steps"]), wall_time=time.time())

    def close(self) -> None:
        with contextlib.suppress(OSError):  # everything is written already, or the error was already raised
            self.file.close()
        self.events.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_metrics(run: RunFolder) -> list[dict[str, float]]:
    """Returns the rows of metrics.jsonl, in order; those of one iteration are consecutive, one for each seed.

    A last line that is incomplete because the process was killed is left out. Raises ValueError if any other line is
    damaged.
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
            if number == len(lines):  # it has no newline, so it is incomplete
                break
            raise ValueError(
                f"line {number} of {path} is damaged ({error}); remove the line or the file, the run needs neither."
            ) from error
    return rows


def _metrics_row(line: bytes) -> dict[str, float]:
    """Returns the row in `line`. Raises ValueError if it is damaged; the message is the reason alone."""
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
