"""Runs of an experiment: ordinary run folders, of which finished ones are kept and interrupted ones go on.

Several processes may do an experiment together, each with a device or a core of its own: a process takes the runs that
no other is at.
"""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from rcjax import train
from rcjax.checkpoints import saved_iterations
from rcjax.checks import short_repr
from rcjax.config import TrainConfig
from rcjax.envs.registry import task_class
from rcjax.lock import Held, hold_lock
from rcjax.storage import RunFolder, read_metrics

POLL_S = 5.0  # how often a process looks whether another one has ended a run that it waits for
NamedRun = tuple[str, TrainConfig]


def claim_each(runs: Sequence[NamedRun], folder: Path, description: str) -> Iterator[NamedRun]:
    """Yields each run once, with a progress bar. While a run is yielded, no other process is given it.

    What is yielded has been left by all others, so it may be finished already. Runs are yielded in their order, but for
    those that another process is at, and those that begin from such a run, which come as soon as they can.
    """
    pending = list(runs)
    with tqdm(total=len(pending), desc=description) as bar:
        while pending:
            names = {name for name, _ in pending}
            for name, config in pending:
                if config.init_from is not None and Path(config.init_from).name in names:
                    continue
                with contextlib.ExitStack() as stack:
                    try:
                        stack.enter_context(hold_lock(folder / f".{name}.claim", f"{name} is being run", bar.write))
                    except Held:
                        continue
                    yield name, config
                pending.remove((name, config))
                bar.update()
                break
            else:
                time.sleep(POLL_S)


def finish_run(config: TrainConfig, path: Path, devices: int | None = None) -> RunFolder:
    """Trains the run in the folder `path` to its end, and returns it.

    Does nothing for a finished run, continues an interrupted one, and starts one that does not exist. What a run would
    print is appended to a file beside its folder, with the ending .log.

    Raises ValueError if the folder has a run with another config.
    """
    if path.exists():
        require_same_config(config, path)
    if not is_finished(path):
        log = _log_file(path)
        train.resume(path, log, devices) if path.exists() else train.start(config, path, log, devices)
    return RunFolder.open(path)


def require_same_config(config: TrainConfig, path: Path) -> None:
    """Raises ValueError if the run in the folder `path` has another config."""
    found, wanted = (dataclasses.asdict(_with_view(each)) for each in (RunFolder.open(path).config, config))
    changed = [name for name in wanted if found[name] != wanted[name]]
    if changed:
        name = changed[0]
        raise ValueError(
            f"{path} was made with {name}={short_repr(found[name])}, expected {short_repr(wanted[name])}; give another "
            "folder with --out, or remove that run."
        )


def _with_view(config: TrainConfig) -> TrainConfig:
    """Returns the config with the view in numbers, as earlier versions wrote the environment's own one, too."""
    view = task_class(config.env.task).view if config.video.view is None else config.video.view
    return dataclasses.replace(config, video=dataclasses.replace(config.video, view=view))


def is_finished(path: Path) -> bool:
    """Returns whether the run in the folder `path` exists and has ended.

    It has been scored then, or has all that training leaves: the last evaluation, the last checkpoint and the policy's
    video, which are written one after the other. (Runs that are kept without their checkpoints have scores.)
    """
    if last_rows(path) is None:
        return False
    if (path / "scores.json").exists():
        return True
    run = RunFolder.open(path)
    return run.config.n_iterations in saved_iterations(run) and (path / "policy.mp4").exists()


def last_rows(path: Path) -> list[dict[str, float]] | None:
    """Returns the metrics of each seed in the last iteration, with its evaluation; None for an unfinished run."""
    if not (path / "config.json").exists():
        return None
    run = RunFolder.open(path)
    rows = [row for row in read_metrics(run) if row["iteration"] == run.config.n_iterations]
    evaluated = [row for row in rows if "eval_success_rate" in row]
    return evaluated if len(evaluated) == run.config.seeds else None


def _log_file(path: Path) -> train.Log:
    path.parent.mkdir(parents=True, exist_ok=True)

    def log(message: str) -> None:
        with path.with_name(f"{path.name}.log").open("a") as file:
            file.write(f"{message}\n")

    return log
