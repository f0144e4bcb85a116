"""Parse Dockerfiles and .dockerignore files, as far as the project's own files need it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("docker/service.Dockerfile", "docker/training.Dockerfile")


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    keyword: str
    value: str


class Dockerfile:
    """The instructions of a Dockerfile with one stage, in order."""

    def __init__(self, text: str) -> None:
        self.instructions = _parse(text)

    def values(self, keyword: str) -> list[str]:
        """The value of each instruction with this keyword."""
        return [instruction.value for instruction in self.instructions if instruction.keyword == keyword]

    def only(self, keyword: str) -> str:
        """The value of the only instruction with this keyword; ValueError if there is not exactly one."""
        (value,) = self.values(keyword)
        return value

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables of ENV."""
        return dict(pair.split("=", 1) for value in self.values("ENV") for pair in shlex.split(value))

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The build arguments and their defaults; ValueError for one without a default."""
        return dict(pair.split("=", 1) for value in self.values("ARG") for pair in shlex.split(value))

    @cached_property
    def command(self) -> list[str]:
        """The exec form of CMD; JSONDecodeError for the shell form."""
        return json.loads(self.only("CMD"))

    @cached_property
    def sources(self) -> list[str]:
        """The paths that COPY takes from the build context."""
        return [source for value in self.values("COPY") for source in shlex.split(value)[:-1]]


def read_dockerfile(path: str) -> Dockerfile:
    """Read a Dockerfile by its path from the root of the project."""
    return Dockerfile((ROOT / path).read_text(encoding="utf-8"))


def _parse(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [Instruction(*line.strip().split(maxsplit=1)) for line in joined.splitlines()]


def is_ignored(path: str, dockerignore: str) -> bool:
    """Whether a .dockerignore excludes a path: the last pattern that matches it or a parent folder decides."""
    names = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    ignored = False
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            expression = re.compile(_expression(pattern.removeprefix("!").strip("/")))
            if any(expression.fullmatch(name) for name in names):
                ignored = not pattern.startswith("!")
    return ignored


def _expression(pattern: str) -> str:
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(translated.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))
