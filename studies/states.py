"""What may have become of an experiment."""

DONE, FAILED, RUNNING, QUEUED = "done", "failed", "running", "queued"
UNDER_WAY = frozenset({RUNNING, QUEUED})
