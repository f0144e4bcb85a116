"""What a user did wrong, in one class."""

from __future__ import annotations


class UserError(Exception):
    """Abstract: something that the person who typed a command can mend.

    The command line shows its message as one line and ends with exit code 1; anything else is a traceback.
    """
