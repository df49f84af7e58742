"""How signals stop training after an iteration."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from types import FrameType

from tqdm import tqdm

from rcjax.devices import gather_from_processes


class Stopped(Exception):
    """Raised when a signal, numbers that are not finite, or an unwritable folder end training early; the run can be
    resumed.

    `exit_code` is that of the process.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class StopRequest:
    """The signal that asked training to stop, if one did."""

    by: Signals | None = None

    def agreed(self) -> bool:
        """Returns whether any process was asked to stop. All processes have to call this, and get the same answer."""
        numbers = gather_from_processes(0 if self.by is None else self.by.value)
        if self.by is None and max(numbers):
            self.by = Signals(max(numbers))
        return self.by is not None

    def as_stopped(self, what: str) -> Stopped:
        """Returns the exception that says what happened, by which signal; its exit code is the shell's for it."""
        assert self.by is not None
        return Stopped(f"{what} by {self.by.name}", 128 + self.by.value)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turns the first Ctrl-C or SIGTERM into a request to stop after the iteration; a second one interrupts at once."""
    request = StopRequest()

    def ask(number: int, _: FrameType | None) -> None:
        if request.by is not None:
            raise KeyboardInterrupt
        request.by = Signals(number)
        tqdm.write(f"{Signals(number).name}: stopping after this iteration ...")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
