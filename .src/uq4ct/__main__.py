"""Run the command `uq4ct` as `python -m uq4ct`."""

from uq4ct.command import run

run()
