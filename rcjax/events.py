"""TensorBoard's event files, written in the calling thread.

The `SummaryWriter` of tensorboardX writes in a thread of its own. When that thread cannot write, it dies, and later
calls wait for it forever.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.summary import scalar

protocol: Any = event_pb2  # type checkers do not see the classes that protobuf generates


class EventWriter:
    """Writes scalars to a new event file. Raises OSError if it cannot be written."""

    def __init__(self, folder: Path, purge_step: int | None):
        """Makes an event file in `folder`. TensorBoard ignores events of older files from step `purge_step` on."""
        self.writer = EventsWriter(str(folder / "events"))
        if purge_step is not None:
            session_log = protocol.SessionLog(status=protocol.SessionLog.START)
            self.writer.write_event(protocol.Event(step=purge_step, file_version="brain.Event:2"))
            self.writer.write_event(protocol.Event(step=purge_step, session_log=session_log))

    def write(self, values: Mapping[str, float], step: int, wall_time: float) -> None:
        """Writes the scalars, which have these names as tags. `wall_time` is in seconds since the epoch."""
        for name, value in values.items():
            self.writer.write_event(protocol.Event(step=step, wall_time=wall_time, summary=scalar(name, value)))
        self.writer.flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # everything is written already, or the error was already raised
            self.writer.close()
