"""`python -m uq4ct` is the command `uq4ct`."""

from uq4ct.command import run

run()
