"""The base class of errors that a user can fix, and the end of a command by Ctrl-C."""

from __future__ import annotations


class UserError(Exception):
    """Abstract: an error that the person who typed a command can fix.

    The command line prints its message as one line and exits with code 1; any other exception prints a traceback.
    """


class StoppedError(UserError):
    """The person who typed a command has ended it with Ctrl-C; the message says what is kept and how to go on."""
