"""Runs of an experiment: ordinary run folders, of which finished ones are kept and interrupted ones go on."""

from pathlib import Path

from rcjax import train
from rcjax.config import TrainConfig
from rcjax.storage import RunFolder, read_metrics


def finish_run(config: TrainConfig, path: Path) -> RunFolder:
    """Trains the run in the folder `path` to its end, and returns it.

    Does nothing for a finished run, continues an interrupted one, and starts one that does not exist. What a run would
    print is appended to a file beside its folder, with the ending .log.
    """
    if not is_finished(path):
        log = _log_file(path)
        train.resume(path, log) if path.exists() else train.start(config, path, log)
    return RunFolder.open(path)


def is_finished(path: Path) -> bool:
    """Returns whether the run in the folder `path` exists and has had its last iteration and evaluation."""
    return last_rows(path) is not None


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
