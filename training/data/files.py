"""What the sources that read local files share: opening them, and which file is which split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from model_store.questions import Question
from training.data.config import CsvData, JsonlData
from training.data.paths import expand_path
from training.data.source import DataError, SourceSplits
from training.data.splits import carve_calibration


def read_splits(config: JsonlData | CsvData, read: Callable[[Path], tuple[Question, ...]]) -> SourceSplits:
    """The splits of the configured files, each read by `read`; without a calibration file train is divided."""
    train = read(expand_path(config.train))
    if config.calibration is None:
        train, calibration = carve_calibration(train, config.carved_share)
    else:
        calibration = read(expand_path(config.calibration))
    return SourceSplits(
        train=train,
        calibration=calibration,
        test=read(expand_path(config.test)),
        shift={name: read(expand_path(path)) for name, path in config.shift.items()},
    )


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """The file as UTF-8 text, with or without a byte order mark.

    Raises:
        DataError: the file is missing, cannot be read or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
