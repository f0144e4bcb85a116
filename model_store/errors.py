"""The base class of errors that a user can fix."""

from __future__ import annotations


class UserError(Exception):
    """Abstract: an error that the person who typed a command can fix.

    The command line prints its message as one line and exits with code 1; any other exception prints a traceback.
    """
