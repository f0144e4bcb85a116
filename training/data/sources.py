"""The table of sources. A new one needs a file, a configuration and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from uq4ct.training.data import csv_file, facts_quiz, hub, hub_table, jsonl, table
from uq4ct.training.data.config import DataConfig, HubTableData
from uq4ct.training.data.source import SourceSplits

SOURCES: Mapping[str, Callable[[Any], SourceSplits]] = {
    "facts": facts_quiz.load,
    "jsonl": jsonl.load,
    "csv": csv_file.load,
    "table": table.load,
    "hub": hub.load,
}


def load_source(config: DataConfig) -> SourceSplits:
    """Return the splits of a source; raises what its `load` raises."""
    return hub_table.load(config) if isinstance(config, HubTableData) else SOURCES[config.source](config)
