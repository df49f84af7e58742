"""Run by test_devices.py in a process with eight virtual devices: the same run on one, eight and two of them.

Usage: python -m tests.devices_runs toy|mjx CONFIG_JSON FOLDER. Leaves FOLDER/one, eight_two and two_eight.
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
    """Half of the iterations on `first` devices (None: all that there are), the rest on `then`."""
    half = dataclasses.replace(config, total_env_steps=config.total_env_steps // 2)
    train.start(half, path, silent, devices=first)
    (RunFolder.open(path).path / "config.json").write_text(configs.to_json(config))
    train.resume(path, silent, devices=then)


def main() -> None:
    motion, config_json, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    toy.move_by(motion)
    config = configs.from_json(config_json.read_text())
    assert len(jax.devices()) == 8
    train.policy_video = silent  # drawing it takes longer than the run
    train.start(config, folder / "one", silent, devices=1)
    stopped_and_resumed(config, folder / "eight_two", first=None, then=2)
    stopped_and_resumed(config, folder / "two_eight", first=2, then=8)


if __name__ == "__main__":
    main()
