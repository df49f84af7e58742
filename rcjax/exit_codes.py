"""How a command ends: its exit code, and one line on standard error where something is wrong."""

import contextlib
import signal
import sys
from collections.abc import Callable

import jax

from rcjax.files import describe_os_error
from rcjax.startup import discard_output, open_closed_streams
from rcjax.stopping import Stopped


def exit_code(program: str, work: Callable[[], int], continuing: str = "") -> int:
    """Calls `work` and returns the exit code of the process.

    Args:
        program: The name that the line on standard error begins with.
        work: The command. It returns its own exit code.
        continuing: What is added to the line if the command was stopped: how to go on.

    Returns:
        What `work` returned; that of `Stopped`; 130 after Ctrl-C; 141, without a line, if nobody reads standard output
        any more; and 2 for bad input (ValueError), files that cannot be read or written, and too little memory.

    Raises:
        Any other error, which is a fault of the program and keeps its traceback.
    """
    open_closed_streams()
    try:
        code = work()
        sys.stdout.flush()  # an error of it can be reported here, but not when the process exits
        return code
    except BrokenPipeError:  # as in `rcjax train | head`, where nobody reads on
        discard_output()
        return 128 + signal.SIGPIPE
    except Stopped as stopped:
        print_line(program, f"{stopped}{continuing}")
        return stopped.exit_code
    except KeyboardInterrupt:
        print_line(program, f"interrupted{continuing}")
        return 128 + signal.SIGINT
    except (ValueError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        print_line(program, f"error: {_reason(error)}")
        return 2


def print_line(program: str, message: str) -> None:
    """Prints a message in one line on standard error, after the program's name."""
    with contextlib.suppress(OSError):  # standard error may be closed or full
        print(f"{program}: {' '.join(message.split())}", file=sys.stderr)


def _reason(error: Exception) -> str:
    """Returns what is wrong and the way out. Raises the error itself if it is a fault of the program."""
    if isinstance(error, OSError):
        return describe_os_error(error, "name a place that can be read and written")
    if isinstance(error, MemoryError):
        return "there is not enough memory; lower --n-envs, --seeds, --size or --episode-length."
    if isinstance(error, jax.errors.JaxRuntimeError):
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        return f"{str(error).splitlines()[0]}; lower --micro-batch, --n-envs, --seeds or --size."
    return str(error)
