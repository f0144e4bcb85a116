"""What transformers prints while it loads a model."""

from __future__ import annotations

from transformers.utils import logging


def quiet_transformers() -> None:
    """Turn off the progress bars and warnings of transformers: they would break up the output of a command."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
