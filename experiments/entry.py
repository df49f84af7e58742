"""How the commands of this folder start: the environment, the options, and one line for bad input."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from rcjax.files import describe_os_error
from rcjax.startup import prepare_environment, require_devices
from rcjax.stopping import Stopped

Options = TypeVar("Options")


def run(name: str, options: type[Options], work: Callable[[Options], None], description: str | None) -> int:
    """Runs `work` with the options of the command line and returns the exit code.

    The code is 2, after one line on standard error that begins with `name`, for bad input, and where something cannot
    be read or written. A run that is stopped, as by Ctrl-C, ends with such a line and its own code.
    """
    try:
        prepare_environment()
        require_devices()
        work(tyro.cli(options, description=description))
    except ValueError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        reason = describe_os_error(error, "name a place that can be read and written")
        print(f"{name}: error: {reason}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"{name}: {stopped}; the same command goes on from there", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    return 0
