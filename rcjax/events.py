"""TensorBoard's event files, written by the thread that asks for it.

tensorboardX's `SummaryWriter` has a thread of its own: where that cannot write, it dies, and the next calls wait for it
forever.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class Events:
    """Appends to a new event file in `folder`. Raises OSError where it cannot be written."""

    def __init__(self, folder: Path, purge_step: int | None):
        """What other files of the folder have from step `purge_step` on, TensorBoard leaves out."""
        self.writer = EventsWriter(str(folder / "events"))
        if purge_step is not None:
            self.writer.write_event(Event(step=purge_step, file_version="brain.Event:2"))
            self.writer.write_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, values: Mapping[str, float], step: int, wall_time: float) -> None:
        for name, value in values.items():
            self.writer.write_event(Event(step=step, wall_time=wall_time, summary=scalar(name, value)))
        self.writer.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # all is written already, or it was said that it could not be
            self.writer.close()
