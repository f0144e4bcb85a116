"""Prometheus's rule files: their paths, their rules, and copies with other windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.docker.dockerfile import ROOT

PROMETHEUS = ROOT / "docker/prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
INCREMENTS_FILE = PROMETHEUS / "rules/increments.yml"
WINDOW = "24h"
SUMMED = "23h59m59s"  # the window over increments
INCREMENT = "5m"


def read_rules() -> list[dict[str, Any]]:
    """Every rule of every file, in order."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULE_FILES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def render_rules(folder: Path, window: str, increment: str = INCREMENT) -> list[Path]:
    """Copy the rule files with another window and other increments; the names of the recorded series stay the same."""
    copies = []
    for path in RULE_FILES:
        copy = folder / path.name
        text = re.sub(rf"\b(?:{WINDOW}|{SUMMED})\b", window, path.read_text(encoding="utf-8"))
        if path == INCREMENTS_FILE:
            text = re.sub(rf"\b{INCREMENT}\b", increment, text)
        copy.write_text(text, encoding="utf-8")
        copies.append(copy)
    return copies
