"""Parse Dockerfiles and .dockerignore files, as far as the project's own files need it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("docker/service.Dockerfile", "docker/training.Dockerfile")
MONITORING = "docker/monitoring.Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    keyword: str
    value: str


@dataclass(frozen=True)
class Stage:
    """One stage of a build: its name, what it is built on, and its instructions, without FROM."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list[Instruction])

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
        return _pairs(self.values("ENV"))

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels of LABEL."""
        return _pairs(self.values("LABEL"))

    @cached_property
    def command(self) -> list[str]:
        """The exec form of CMD; JSONDecodeError for the shell form."""
        return json.loads(self.only("CMD"))

    @cached_property
    def sources(self) -> list[str]:
        """The paths that COPY takes from the build context."""
        copies = [shlex.split(value) for value in self.values("COPY")]
        plain = [[word for word in words if not word.startswith("--chown=")] for words in copies]
        return [source for words in plain if not words[0].startswith("--from=") for source in words[:-1]]

    @cached_property
    def parts(self) -> dict[str, str]:
        """What COPY takes from other stages: the path here, and the stage."""
        copies = [shlex.split(value) for value in self.values("COPY")]
        return {words[1]: words[0].removeprefix("--from=") for words in copies if words[0].startswith("--from=")}


class Dockerfile:
    """The stages of a Dockerfile; what a container has comes from the last one."""

    def __init__(self, text: str) -> None:
        self.before: list[Instruction] = []
        self.stages: list[Stage] = []
        for instruction in _parse(text):
            if instruction.keyword == "FROM":
                base, _, name = instruction.value.partition(" AS ")
                self.stages.append(Stage(name, base))
            else:
                (self.stages[-1].instructions if self.stages else self.before).append(instruction)

    @property
    def last(self) -> Stage:
        """The stage that becomes the image."""
        return self.stages[-1]

    def stage(self, name: str) -> Stage:
        """The stage of this name."""
        return next(stage for stage in self.stages if stage.name == name)

    def line(self, stage: Stage) -> Iterator[Stage]:
        """Yield a stage and the stages that it is built on."""
        yield stage
        for base in self.stages:
            if base.name == stage.base:
                yield from self.line(base)

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The build arguments and their defaults; ValueError for one without a default."""
        instructions = [*self.before, *(one for stage in self.stages for one in stage.instructions)]
        return _pairs([one.value for one in instructions if one.keyword == "ARG"])

    @cached_property
    def sources(self) -> list[str]:
        """The paths that any stage takes from the build context."""
        return [source for stage in self.stages for source in stage.sources]


def read_dockerfile(path: str) -> Dockerfile:
    """Read a Dockerfile by its path from the root of the project."""
    return Dockerfile((ROOT / path).read_text(encoding="utf-8"))


def _pairs(values: list[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for value in values for pair in shlex.split(value))


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
