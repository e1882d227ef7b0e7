"""The one exception of this package that a user can cause."""


class InputError(Exception):
    """A file is not what it should be. The message is one line: `<file>: found <x>, expected <y>`.

    Meant for the user: print it as `ERROR: <message>` and exit non-zero, without a traceback.
    """
