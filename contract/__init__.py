"""What all parts of the project agree on, as code: errors, files, locks, names and tables, the menu
of optimizers, learning-rate schedules, and the records of a training.

Everything here runs in all three environments: it needs the standard library and a YAML reader.
The one exception is `contract.params`, which needs pydantic and is read by the pipeline alone.
"""
