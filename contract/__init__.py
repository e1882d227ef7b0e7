"""What all parts of the project agree on, as code.

This is the form of errors, how files are written, the names of files and columns, the menu of
optimizers, schedules and clippings, the learning rates, and the records of a training.

Everything here runs in all three environments: it needs the standard library and a YAML reader.
The one exception is `contract.params`, which needs pydantic and which only the pipeline reads.
"""
