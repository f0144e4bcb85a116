"""The parts of a reference to a stored version: `name`, `name@version` or `name@alias`. Imports no torch."""

from __future__ import annotations

import re

PRODUCTION = "production"  # the alias that a bare name refers to
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

NAME = re.compile(NAME_PATTERN)
VERSION = re.compile(r"[1-9][0-9]{0,8}")
ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")  # starts with a letter, so no alias reads as a version
