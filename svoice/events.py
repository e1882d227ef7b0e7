"""TensorBoard's event file."""

import io
import time

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from svoice.logs import GrowingFile


class Events(GrowingFile):
    """Scalars in a file that TensorBoard reads.

    Written record by record rather than by its own writer, whose thread is behind the CSV files
    when a process dies, which starts a new file with every start, and which names the host in it.
    """

    def __init__(self, path, size):
        super().__init__(path, size)
        if not size:
            self.event(file_version="brain.Event:2")

    def scalars(self, group, step, values):
        """Append {name: number} under the tags group/name, at a step."""
        summary = Summary(
            value=[
                Summary.Value(tag=f"{group}/{name}", simple_value=value)
                for name, value in values.items()
            ]
        )
        self.event(step=step, summary=summary)

    def event(self, **content):
        record = io.BytesIO()
        event = Event(wall_time=time.time(), **content)
        RecordWriter(record).write(event.SerializeToString())
        self.append(record.getvalue())
