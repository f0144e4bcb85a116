"""Claim a run's folder, so that a folder never mixes two runs."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.records import CONFIG_FILE, RESULT_FILE, RunError, is_finished, read_record, write_record
from uq4ct.training.runs.resume_point import RESUME_FILE, read_state

NEEDED_FOLDER = "needed"  # contains the runs that a method is fitted on, unless they are shared
LOCK_FILE = ".lock"


def claim_folder(folder: Path, config: RunConfig, *, resume: bool) -> None:
    """Write the configuration into a folder, or check that the folder is this run's own.

    A run that failed before its first resume point has left nothing to keep, so its configuration is replaced.

    Raises:
        RunError: the folder holds another run or another program's file, or this run has begun and `resume` is not set.
    """
    path = folder / CONFIG_FILE
    if os.path.lexists(path):
        differs = read_record(path, RunConfig) != config
        if has_begun(folder):
            if differs:
                raise RunError(f"{folder} holds a run with a different configuration: choose another folder")
            if not resume:
                raise RunError(f"{folder} already holds this run: continue it with --resume, or choose another folder")
            return
    folder.mkdir(parents=True, exist_ok=True)
    write_record(path, config)


def has_begun(folder: Path) -> bool:
    """Whether the folder holds what must be kept: a resume point or a result, of a run or of one that it needs."""
    if any(os.path.lexists(folder / name) for name in (RESUME_FILE, RESULT_FILE)):
        return True
    return any(has_begun(needed) for needed in (folder / NEEDED_FOLDER).glob("*"))


def describe_kept(folder: Path) -> str:
    """Return what a run that has ended early leaves in its folder, and how to go on."""
    if is_finished(folder):
        return f"the finished run in {folder} is kept"
    if os.path.lexists(folder / RESUME_FILE):
        step = read_state(folder).step
        return f"the resume point in {folder} is kept: run the same command with --resume to continue from step {step}"
    if has_begun(folder):
        return f"the runs in {folder / NEEDED_FOLDER} are kept: run the same command with --resume to continue"
    return "there was no resume point yet, so nothing is kept: run the same command again"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder, which is made if it is missing.

    Raises:
        RunError: another process trains in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another process trains in {folder}: wait until it has ended, or choose another folder"
            raise RunError(message) from None
        yield
