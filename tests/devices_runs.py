"""Run by test_devices.py in a process with eight virtual devices: makes the same run on different numbers of them.

Usage: python -m tests.devices_runs toy|real CONFIG_JSON FOLDER RUN ... Writes FOLDER/RUN for each RUN, which is `one`,
`alone` (the second seed), `eight` or `eight_two`.
"""

import dataclasses
import sys
from pathlib import Path

import jax

from rcjax import config as configs
from rcjax import train
from rcjax.storage import RunFolder
from tests import toy


def silent(*_: object) -> None:
    pass


def stopped_and_resumed(config: configs.TrainConfig, path: Path, first: int | None, then: int) -> None:
    """Runs half of the iterations on `first` devices (None: all available ones), and the rest on `then` devices."""
    half = dataclasses.replace(config, total_env_steps=config.total_env_steps // 2)
    train.start(half, path, silent, devices=first)
    (RunFolder.open(path).path / "config.json").write_text(configs.to_json(config))
    train.resume(path, silent, devices=then)


DEVICES_OF = {
    "one": lambda config, path: train.start(config, path, silent, devices=1),
    "alone": lambda config, path: train.start(
        dataclasses.replace(config, seeds=1, seed=config.seed + 1), path, silent, devices=1
    ),
    "eight": lambda config, path: train.start(config, path, silent, devices=8),
    "eight_two": lambda config, path: stopped_and_resumed(config, path, first=None, then=2),
}


def main() -> None:
    motion, config_json, folder, runs = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    toy.move_by(motion)
    config = configs.from_json(config_json.read_text())
    assert len(jax.devices()) == 8
    train.policy_video = silent  # drawing it takes longer than the run
    for run in runs:
        DEVICES_OF[run](config, folder / run)


if __name__ == "__main__":
    main()
