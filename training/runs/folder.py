"""Claim a run's folder, so that a folder never mixes two runs."""

from __future__ import annotations

import os
from pathlib import Path

from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.records import CONFIG_FILE, RESULT_FILE, RunError, read_record, write_record
from uq4ct.training.runs.resume_point import RESUME_FILE

NEEDED_FOLDER = "needed"  # contains the runs that a method is fitted on, unless they are shared


def claim_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Write the configuration into a new folder, or check that the folder is this run's own.

    Raises:
        RunError: the folder holds another run, or this run has begun and `resume` is not set.
    """
    path = folder / CONFIG_FILE
    if os.path.lexists(path):
        if read_record(path, RunConfig) != config:
            raise RunError(f"{folder} holds a run with a different configuration: choose another folder")
        begun = (folder / name for name in (RESUME_FILE, RESULT_FILE, NEEDED_FOLDER))
        if not resume and any(place.exists() for place in begun):
            raise RunError(f"{folder} already holds this run: continue it with --resume, or choose another folder")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_record(path, config)
