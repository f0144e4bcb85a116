"""The table of sources. A new one needs a file, a configuration and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from uq4ct.training.data import csv_file, facts_quiz, hub, jsonl
from uq4ct.training.data.source import SourceSplits

SOURCES: Mapping[str, Callable[[Any], SourceSplits]] = {
    "facts": facts_quiz.load,
    "jsonl": jsonl.load,
    "csv": csv_file.load,
    "hub": hub.load,
}
