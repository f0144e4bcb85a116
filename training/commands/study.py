"""`uq4ct study` and `uq4ct study-report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from uq4ct.training.commands.options import console
from uq4ct.training.console import say

if TYPE_CHECKING:
    from uq4ct.training.study.config import Study

RecipeOption = Annotated[str, typer.Option("--recipe", help="a YAML file, or the name of a shipped study_ recipe")]
OutputOption = Annotated[Path | None, typer.Option(help="folder of the study; default: runs/<its name>")]


def study(
    recipe: RecipeOption,
    output: OutputOption = None,
    only: Annotated[list[str], typer.Option(help="label of a method to run; default: all")] = [],  # noqa: B006
) -> None:
    """Train and score methods x data sets x seeds, then write the report.

    Continues an interrupted study: finished rows are kept, failed rows are retried. Exit code 1 if a row failed.
    """
    from uq4ct.model_store.errors import StoppedError
    from uq4ct.model_store.full_disk import DiskFullError
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.study.config import load_study
    from uq4ct.training.study.running import StudyError, describe_finished, run_study

    prepare_process()
    plan = load_study(find_recipe(recipe))
    folder = output or Path("runs") / plan.config.name
    try:
        failed = run_study(plan, folder, console, tuple(only))
    except KeyboardInterrupt:
        raise StoppedError(describe_finished(plan, folder)) from None
    except DiskFullError as error:
        raise StudyError(f"{error}; {describe_finished(plan, folder)}") from error
    _write_report(plan, folder)
    if failed:
        raise StudyError(f"{len(failed)} rows failed: {'; '.join(f'{row.key} ({row.message})' for row in failed)}")


def study_report(recipe: RecipeOption, output: OutputOption = None) -> None:
    """Write the report of what a study has finished so far."""
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.study.config import load_study

    plan = load_study(find_recipe(recipe))
    _write_report(plan, output or Path("runs") / plan.config.name)


def _write_report(plan: Study, folder: Path) -> None:
    from uq4ct.training.study.report import HTML_FILE, write_report
    from uq4ct.training.study.results import read_results

    write_report(read_results(plan, folder))
    say(console, f"report: {folder / HTML_FILE}")
