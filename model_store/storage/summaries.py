"""What a listing of the store shows of each version, kept in memory: a stored version never changes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.storage.manifest import DIGEST_FILE, MANIFEST_FILE, Manifest, Scores

MOST_SUMMARIES = 10_000  # of about 8 kB each

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The fields of a manifest that a listing shows."""

    name: str
    version: int
    method: str
    adapter_digest: str
    base: BaseIdentity
    samples: int
    passes: int
    scores: Scores

    @classmethod
    def of(cls, manifest: Manifest) -> Summary:
        """Return the summary of a manifest; `scores` are those of the test split, as the adapter answers."""
        return cls(
            name=manifest.name,
            version=manifest.version,
            method=manifest.method,
            adapter_digest=manifest.adapter_digest,
            base=manifest.base,
            samples=manifest.posterior.samples,
            passes=manifest.posterior.passes,
            scores=manifest.scores_after,
        )


class Summaries:
    """The summaries of the versions that were listed last, each for as long as its files are the same.

    Safe with several threads; two that ask for a new version at once may both read it.
    """

    def __init__(self, limit: int = MOST_SUMMARIES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Path, tuple[Stamp, Summary]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, directory: Path, read: Callable[[], Manifest]) -> Summary:
        """Return the summary of the version in a directory; `read` is called if its files are new or have changed.

        Raises:
            FileError: `read` raised it.
        """
        stamp = _stamp_of(directory)  # before the content, so that a later change is always noticed
        with self._lock:
            known = self._kept.get(directory)
            if known is not None and known[0] == stamp:
                self._kept.move_to_end(directory)
                return known[1]
        summary = Summary.of(read())
        if stamp is not None:
            self._keep(directory, stamp, summary)
        return summary

    def _keep(self, directory: Path, stamp: Stamp, summary: Summary) -> None:
        with self._lock:
            self._kept[directory] = stamp, summary
            self._kept.move_to_end(directory)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)


def _stamp_of(directory: Path) -> Stamp | None:
    """Return what changes with the content of the record's files; None if they cannot be found, which is an error."""
    try:
        return sum(map(_identity, (directory / MANIFEST_FILE, directory / DIGEST_FILE)), ())
    except OSError:
        return None


def _identity(path: Path) -> Stamp:
    status = os.stat(path)  # noqa: PTH116  # a fifth of the time of Path.stat, for every version of a listing
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
