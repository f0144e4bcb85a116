"""Multiple-choice answers whose confidence can be trusted.

`uq4ct.client` calls a running service; `uq4ct.predictor` answers in this process. Neither is imported here.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
