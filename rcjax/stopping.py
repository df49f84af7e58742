"""How training is asked to stop, and says that it did."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from types import FrameType

from tqdm import tqdm

from rcjax.devices import of_all_processes


class Stopped(Exception):
    """Training ended before its last iteration, by a signal or numbers that are not finite; the run can be resumed."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class StopRequest:
    by: Signals | None = None

    def agreed(self) -> bool:
        """Whether any process was asked to stop: all of them have to ask, and all get the same answer."""
        numbers = of_all_processes(0 if self.by is None else self.by.value)
        if self.by is None and max(numbers):
            self.by = Signals(max(numbers))
        return self.by is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """The first Ctrl-C or SIGTERM asks training to stop after its iteration; a second Ctrl-C interrupts at once."""
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
