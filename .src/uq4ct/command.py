"""The command `uq4ct`: finds the installed verbs and runs one of them.

Each part of the project that has verbs declares an entry point in the group `uq4ct.verbs`. The entry point's name is
the extra that the part needs. Its module defines `VERBS`, each verb with one line of help, and `CLI`, the Typer
application that runs them, as `module:name`. The module imports nothing else from its part, so that help is fast.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import NoReturn

from uq4ct import __version__
from uq4ct.model_store.errors import StoppedError, UserError

STOPPED = 130  # exit code after Ctrl-C, as of a shell
_DISTRIBUTION = "uq4ct"
_GROUP = "uq4ct.verbs"
_REQUIREMENT = re.compile(  # as wheels spell them: name[extras]>=1,<2; extra == "one"
    r"""(?P<name>[\w.-]+)(\[(?P<extras>[\w,-]+)\])?[^;]*(;.*\bextra == ["'](?P<extra>[\w-]+)["'])?"""
)


@dataclass(frozen=True, slots=True)
class Part:
    """The verbs of one part of the project, and the distributions of its extra that are not installed."""

    extra: str
    verbs: Mapping[str, str]
    cli: str
    missing: tuple[str, ...]


def run() -> NoReturn:
    """Run the verb of this process's arguments and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters that the locale cannot show
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # the progress bars of libraries, which end in carriage returns
    code = main(sys.argv[1:])
    if code == STOPPED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the interpreter would wait for threads that load a model
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run a verb with its arguments and return the exit code.

    A user's error is one line on stderr and code 1, Ctrl-C one line and code 130.
    """
    parts = list(_parts())
    match list(arguments):
        case [] | ["--help" | "-h", *_]:
            print(_help(parts))
            return 0
        case ["--version", *_]:
            print(f"uq4ct {__version__}")
            return 0
    verb = arguments[0]
    part = next((part for part in parts if verb in part.verbs), None)
    if part is None:
        known = ", ".join(sorted(name for part in parts if not part.missing for name in part.verbs)) or "none"
        return _fail(f"{verb!r} is not a verb of uq4ct; installed: {known}", code=2)
    if part.missing:
        return _fail(
            f"{verb!r} needs {', '.join(part.missing)}: install it with pip install 'uq4ct[{part.extra}]'", code=2
        )
    return _run(part, arguments)


def _run(part: Part, arguments: Sequence[str]) -> int:
    module, _, name = part.cli.partition(":")
    try:
        getattr(importlib.import_module(module), name)(args=list(arguments), prog_name="uq4ct")
    except StoppedError as stop:
        return _stop(f"stopped: {stop}")
    except KeyboardInterrupt:  # while the verb's module is imported
        return _stop("stopped")
    except (UserError, OSError) as error:
        return _fail(str(error), code=1)
    except SystemExit as stop:  # Typer ends every command with one
        if stop.code == STOPPED:  # Typer has caught a KeyboardInterrupt
            return _stop("stopped")
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def _stop(message: str) -> int:
    print(message, file=sys.stderr)
    return STOPPED


def _fail(message: str, *, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _parts() -> Iterator[Part]:
    requirements = metadata.requires(_DISTRIBUTION) or []
    for entry in metadata.entry_points(group=_GROUP):
        try:
            module = entry.load()
        except ModuleNotFoundError as error:
            if error.name != entry.module.rpartition(".")[0]:
                raise
            continue  # the image of the service is installed without the folder of training
        yield Part(entry.name, module.VERBS, module.CLI, tuple(_missing(entry.name, requirements)))


def _missing(extra: str, requirements: Sequence[str]) -> Iterator[str]:
    """Yield the distributions that an extra requires, directly or through another extra, and that are not installed."""
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match is None or match["extra"] != extra:
            continue
        if match["name"] == _DISTRIBUTION:
            for inner in match["extras"].split(","):
                yield from _missing(inner, requirements)
        elif not _installed(match["name"]):
            yield match["name"]


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _help(parts: Sequence[Part]) -> str:
    lines = ["Usage: uq4ct VERB [ARGUMENTS]", "       uq4ct VERB --help | --help | --version"]
    width = max((len(verb) for part in parts for verb in part.verbs), default=0)
    for part in parts:
        if not part.missing:
            lines += ["", f"Verbs of uq4ct[{part.extra}]:"]
            lines += [f"  {verb:{width}}  {text}" for verb, text in part.verbs.items()]
    for part in parts:
        if part.missing:
            lines += ["", f"Not installed (pip install 'uq4ct[{part.extra}]'): {', '.join(part.verbs)}"]
    return "\n".join(lines)
