"""The verbs that `uq4ct --help` lists without importing anything are the existing ones."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("part", ["training", "service"])
def test_the_verbs_are_the_commands_with_the_first_lines_of_their_help(part: str) -> None:
    verbs = import_module(f"uq4ct.{part}.verbs")
    module, _, name = verbs.CLI.partition(":")
    group = get_command(getattr(import_module(module), name))
    commands = group.commands  # pyright: ignore[reportAttributeAccessIssue]
    helps = {verb: (command.help or "").strip().split("\n")[0] for verb, command in commands.items()}
    assert helps == verbs.VERBS


def _install(site: Path, *parts: str) -> None:
    """Make an installation that declares both parts and has some of them, like the images."""
    package, information = site / "uq4ct", site / "uq4ct-0.1.0.dist-info"
    package.mkdir(parents=True)
    information.mkdir()
    for name in ("__init__.py", "command.py"):
        (package / name).symlink_to(ROOT / ".src" / "uq4ct" / name)
    for part in ("model_store", *parts):
        (package / part).symlink_to(ROOT / part)
    (information / "METADATA").write_text("Metadata-Version: 2.4\nName: uq4ct\nVersion: 0.1.0\n")
    declared = "".join(
        f"{extra} = uq4ct.{part}.verbs\n" for extra, part in (("train", "training"), ("serve", "service"))
    )
    (information / "entry_points.txt").write_text(f"[uq4ct.verbs]\n{declared}")


@pytest.mark.parametrize(
    ("parts", "verb", "other"), [(["service"], "train", "serve"), (["training"], "serve", "train")]
)
def test_a_verb_of_a_part_that_is_left_out_is_refused_in_one_line(
    parts: list[str], verb: str, other: str, tmp_path: Path
) -> None:
    _install(tmp_path, *parts)
    code = "import sys; from uq4ct.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-S", "-c", code, verb]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {verb!r} is not a verb of uq4ct; installed: ")
    assert other in line.split(": ")[-1].split(", ")


def test_a_part_that_is_there_and_cannot_be_imported_is_an_error(tmp_path: Path) -> None:
    _install(tmp_path, "service")
    (tmp_path / "uq4ct" / "training").mkdir()
    (tmp_path / "uq4ct" / "training" / "verbs.py").write_text("import uq4ct.training.missing\n")
    command = [sys.executable, "-S", "-c", "from uq4ct.command import main; main(['serve'])"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No module named 'uq4ct.training.missing'" in done.stderr
