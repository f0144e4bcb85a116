"""Commands of training: fetch, questions, train, evaluate, compare, study, publish, adopt, export, demo."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from transformers.utils import logging as transformers_logging

from uq4ct.model_store.base.models import EMBEDDED, find_base_files
from uq4ct.model_store.storage.registry import Registry, default_store_dir
from uq4ct.model_store.uncertainty.conformal import ConformalScore
from uq4ct.training.commands.adopt import adopt, export
from uq4ct.training.commands.demo import run_demo
from uq4ct.training.commands.evaluate import (
    candidate_of_run,
    candidate_of_store,
    candidate_untrained,
    evaluate,
    questions_of,
)
from uq4ct.training.commands.publish import publish_run
from uq4ct.training.data.jsonl import write_jsonl
from uq4ct.training.data.loading import load_splits
from uq4ct.training.evaluation.decisions import decision_targets
from uq4ct.training.evaluation.predictions import read_pair
from uq4ct.training.evaluation.scores import paired_differences
from uq4ct.training.evaluation.tables import decision_table, difference_table, score_table
from uq4ct.training.run_config import CalibrationName, ConfigError, load_run_config, read_recipe
from uq4ct.training.runs.runs import RESULT_FILE, RunError, train_run
from uq4ct.training.study.config import load_study
from uq4ct.training.study.report import HTML_FILE, write_report
from uq4ct.training.study.results import read_results
from uq4ct.training.study.running import StudyError, run_study

app = typer.Typer(
    help="Train, evaluate and publish calibrated adapters.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(width=None if sys.stdout.isatty() else 120)  # tables in a log need room

RecipeArgument = Annotated[str, typer.Argument(help="a YAML file, or the name of a shipped recipe such as quickstart")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="override a field, e.g. --set optimizer.learning_rate=1e-4")
]
StoreOption = Annotated[Path | None, typer.Option(help="model store; default: UQ4CT_MODEL_STORE_DIR")]
OutputOption = Annotated[Path | None, typer.Option(help="folder of the run; default: runs/<name>")]
StudyRecipeOption = Annotated[str, typer.Option("--recipe", help="a YAML file, or the name of a shipped study_ recipe")]
StudyOutputOption = Annotated[Path | None, typer.Option(help="folder of the study; default: runs/<its name>")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, auto; default: the recipe's")]
DtypeOption = Annotated[
    str | None, typer.Option(help="float32, bfloat16, auto; default: as trained, untrained the recipe's")
]


@app.callback()
def _quiet() -> None:
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="embedded name, folder or hub id")] = EMBEDDED,
    revision: Annotated[str | None, typer.Option(help="commit or tag of a hub id")] = None,
) -> None:
    """Fetch and convert a base model ahead of time."""
    files = find_base_files(name, revision)
    console.print(f"{files.identity.name} {files.identity.digest} in {files.folder}", highlight=False, soft_wrap=True)


@app.command()
def questions(
    recipe: RecipeArgument,
    output: Annotated[Path, typer.Argument(help="file to write, with a JSON object a line")],
    split: Annotated[str, typer.Option(help="train, fit, guarantee, test, or the name of a shift")] = "test",
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Write the questions of a recipe's split with their answers, for `uq4ct replay` or other programs."""
    splits, _ = load_splits(load_run_config(recipe_path(recipe), tuple(overrides)).data)
    chosen = questions_of(splits, split)
    write_jsonl(output, chosen)
    console.print(f"{len(chosen)} questions in {output}", highlight=False, soft_wrap=True)


@app.command()
def train(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006
    output: OutputOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the folder's resume point")] = False,
    on: Annotated[
        list[Path],
        typer.Option("--on", help="folder of a finished run that the method is fitted on; else it is trained"),
    ] = [],  # noqa: B006
) -> None:
    """Train a recipe."""
    config = load_run_config(recipe_path(recipe), tuple(overrides))
    folder = output or Path("runs") / config.name
    result = train_run(config, folder, console, resume=resume, on=on)
    rate = result.tokens / result.seconds
    console.print(
        f"{folder}: kept epoch {result.kept_epoch}, NLL on the fit split "
        f"{result.fit_nll[result.kept_epoch - 1]:.4f}, {result.seconds:.0f} s, {rate:.0f} tokens/s",
        highlight=False,
        soft_wrap=True,
    )


@app.command("evaluate")
def evaluate_command(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    target: Annotated[str, typer.Argument(help="run folder, name@version in the store, or with --untrained a recipe")],
    split: Annotated[str, typer.Option(help="train, fit, guarantee, test, or the name of a shift")] = "test",
    untrained: Annotated[bool, typer.Option("--untrained", help="the base model of a recipe, before training")] = False,
    one_by_one: Annotated[bool, typer.Option("--one-by-one", help="every question in a batch of its own")] = False,
    output: Annotated[Path | None, typer.Option(help="where predictions, scores and diagrams go")] = None,
    overrides: SetOption = [],  # noqa: B006
    store: StoreOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
) -> None:
    """Score a run, a stored adapter or an untrained base model on a split."""
    folder = Path(target)
    if untrained:
        config = load_run_config(recipe_path(target), tuple(overrides))
        candidate = candidate_untrained(config, device=device, dtype=dtype)
        place = output or Path("runs") / f"{config.name}-untrained"
    elif (folder / RESULT_FILE).is_file():
        candidate = candidate_of_run(folder, device=device, dtype=dtype)
        place = output or folder / "evaluation"
    elif folder.is_dir() or len(folder.parts) > 1:
        raise RunError(f"{folder} holds no finished run (no {RESULT_FILE})")
    else:
        candidate = candidate_of_store(Registry(store or default_store_dir()), target, device=device, dtype=dtype)
        place = output or Path("runs") / candidate.title
    scores = evaluate(candidate, split, place, console, batch_tokens=1 if one_by_one else None)
    console.print(score_table(scores, f"{candidate.title}, {split} split"))
    console.print(f"predictions and diagrams: {place}", highlight=False, soft_wrap=True)


@app.command()
def compare(
    ours: Annotated[Path, typer.Argument(help="predictions that `evaluate` wrote")],
    theirs: Annotated[Path, typer.Argument(help="the same questions, answered by another model")],
) -> None:
    """Paired bootstrap differences of two models on the same questions: ours minus theirs."""
    differences = paired_differences(*read_pair(ours, theirs))
    console.print(difference_table(differences, f"{ours} minus {theirs}"))


@app.command()
def publish(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    store: StoreOption = None,
    promote: Annotated[bool, typer.Option("--promote", help="make it the production version at once")] = False,
    calibration: Annotated[
        CalibrationName | None, typer.Option(help="what is fitted after training; default: the recipe's")
    ] = None,
    target_risk: Annotated[
        float | None, typer.Option(help="abstain so that at most this share of the answered is wrong")
    ] = None,
    target_coverage: Annotated[float | None, typer.Option(help="abstain, but answer at least this share")] = None,
    guarantee: Annotated[float, typer.Option(help="probability with which the target holds")] = 0.95,
    set_coverage: Annotated[float, typer.Option(help="share of prediction sets that hold the right option")] = 0.9,
    set_score: Annotated[ConformalScore, typer.Option(help="what prediction sets are made by")] = "lac",
    max_set_size: Annotated[int | None, typer.Option(help="abstain where the prediction set is larger")] = None,
) -> None:
    """Score a finished run and store it as the next version of its name."""
    targets = decision_targets(
        target_risk,
        target_coverage,
        guarantee=guarantee,
        set_coverage=set_coverage,
        set_score=set_score,
        max_set_size=max_set_size,
    )
    registry = Registry(store or default_store_dir())
    publication = publish_run(run, registry, console, calibration=calibration, promote=promote, targets=targets)
    manifest = publication.manifest
    columns = {"before calibration": manifest.scores_before, "as served": manifest.scores_after}
    console.print(score_table({k: v for k, v in columns.items() if v is not None}, manifest.reference))
    console.print(decision_table(manifest.decisions))
    console.print(f"published {manifest.reference}", highlight=False, soft_wrap=True)


@app.command("adopt")
def adopt_command(
    checkpoint: Annotated[Path, typer.Argument(help="folder of a checkpoint of PEFT's LoRA or of MixLoRA")],
    recipe: Annotated[str, typer.Option(help="whose data, base and scoring go with it; a file or a shipped recipe")],
    output: Annotated[Path, typer.Option(help="folder of the run")],
    overrides: SetOption = [],  # noqa: B006
) -> None:
    """Make a finished run of an adapter that was trained elsewhere; publish it as any other."""
    path = recipe_path(recipe)
    result = adopt(checkpoint, read_recipe(path, tuple(overrides)), str(path), output, console)
    console.print(
        f"{output}: {result.trained_parameters:,} parameters on {result.base.name}, nothing trained here",
        highlight=False,
        soft_wrap=True,
    )


@app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(help="folder of a finished run of plain LoRA")],
    output: Annotated[Path, typer.Argument(help="folder to write adapter_config.json and its tensors into")],
) -> None:
    """Write plain LoRA as a checkpoint that PEFT opens."""
    left_out = export(run, output)
    note = f"; without {', '.join(left_out)}, for which the layout has no place" if left_out else ""
    console.print(f"{output}{note}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    recipe: RecipeArgument = "quickstart",
    overrides: SetOption = [],  # noqa: B006
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """Train a recipe, publish it, serve it, ask it three questions, and show scores before and after."""
    config = load_run_config(recipe_path(recipe), tuple(overrides))
    run_demo(config, output or Path("runs") / config.name, store or default_store_dir(), console)


@app.command()
def study(
    recipe: StudyRecipeOption,
    output: StudyOutputOption = None,
    only: Annotated[list[str], typer.Option(help="label of a method; only these run")] = [],  # noqa: B006
) -> None:
    """Run a study, or go on with it: methods x data sets x seeds, one row each, then the report.

    Finished rows are never run again; failed ones are. Exit code 1 if a row failed.
    """
    plan = load_study(recipe_path(recipe))
    folder = output or Path("runs") / plan.config.name
    failed = run_study(plan, folder, console, tuple(only))
    write_report(read_results(plan, folder))
    console.print(f"report: {folder / HTML_FILE}", highlight=False, soft_wrap=True)
    if failed:
        raise StudyError(f"{len(failed)} rows failed: {'; '.join(f'{row.key} ({row.message})' for row in failed)}")


@app.command("study-report")
def study_report(recipe: StudyRecipeOption, output: StudyOutputOption = None) -> None:
    """Write the report of what a study has finished so far."""
    plan = load_study(recipe_path(recipe))
    folder = output or Path("runs") / plan.config.name
    write_report(read_results(plan, folder))
    console.print(f"report: {folder / HTML_FILE}", highlight=False, soft_wrap=True)


def recipe_path(recipe: str) -> Path:
    """A recipe given as a file, or by the name of one that ships with the project.

    Raises:
        ConfigError: there is no such file and no such recipe.
    """
    if Path(recipe).is_file():
        return Path(recipe)
    shipped = Path(str(resources.files("uq4ct.training.recipes")))
    path = shipped / f"{recipe}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.yaml")))
        raise ConfigError(f"recipe {recipe!r} is neither a file nor one of {names}")
    return path
