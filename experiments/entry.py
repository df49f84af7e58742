"""How the commands of this folder start: the environment, and the options."""

from collections.abc import Callable
from typing import TypeVar

import tyro

from rcjax.exit_codes import exit_code
from rcjax.startup import prepare_environment, require_devices

Options = TypeVar("Options")


def run(name: str, options: type[Options], work: Callable[[Options], None], description: str | None) -> int:
    """Runs `work` with the options of the command line and returns the exit code, see `rcjax.exit_codes`."""

    def command() -> int:
        prepare_environment()
        require_devices()
        work(tyro.cli(options, description=description))
        return 0

    return exit_code(name, command, continuing="; the same command goes on from there")
