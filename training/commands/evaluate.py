"""`uq4ct evaluate` and `uq4ct compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.training.commands.options import BaseFoldersOption, SetOption, StoreOption, base_folders_of, console
from uq4ct.training.console import say

DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, auto; default: the recipe's")]
DtypeOption = Annotated[
    str | None,
    typer.Option(help="float32, bfloat16, auto; default: as trained, with --untrained the recipe's"),
]


def evaluate(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    target: Annotated[str, typer.Argument(help="run folder, name@version in the store, or a recipe with --untrained")],
    split: Annotated[str, typer.Option(help="train, fit, guarantee, test, or a shift set")] = "test",
    untrained: Annotated[bool, typer.Option("--untrained", help="the recipe's base model before training")] = False,
    one_by_one: Annotated[bool, typer.Option("--one-by-one", help="score each question in its own batch")] = False,
    output: Annotated[Path | None, typer.Option(help="folder for predictions, scores and diagrams")] = None,
    overrides: SetOption = [],  # noqa: B006
    store: StoreOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    base_folders: BaseFoldersOption = None,
) -> None:
    """Score a run, a stored adapter or an untrained base model on a split."""
    from uq4ct.model_store.storage.registry import Registry, default_store_dir
    from uq4ct.training.evaluation.evaluate import evaluate as evaluate_model
    from uq4ct.training.evaluation.evaluated import open_run, open_stored, open_untrained
    from uq4ct.training.evaluation.tables import score_table
    from uq4ct.training.model_process import prepare_process
    from uq4ct.training.recipes.shipped import find_recipe
    from uq4ct.training.run_config import load_run_config
    from uq4ct.training.runs.records import RESULT_FILE, RunError, is_finished

    prepare_process()
    folder, folders = Path(target), base_folders_of(base_folders)
    if untrained:
        config = load_run_config(find_recipe(target), tuple(overrides))
        model = open_untrained(config, device=device, dtype=dtype)
        place = output or Path("runs") / f"{config.name}-untrained"
    elif is_finished(folder):
        model = open_run(folder, device=device, dtype=dtype, base_folders=folders)
        place = output or folder / "evaluation"
    elif folder.is_dir() or len(folder.parts) > 1:
        raise RunError(f"{folder} holds no finished run (no {RESULT_FILE})")
    else:
        registry = Registry(store or default_store_dir())
        model = open_stored(registry, target, device=device, dtype=dtype, base_folders=folders)
        place = output or Path("runs") / model.title
    scores = evaluate_model(model, split, place, console, batch_tokens=1 if one_by_one else None)
    console.print(score_table(scores, f"{model.title}, {split} split"))
    say(console, f"predictions and diagrams: {place}")


def compare(
    ours: Annotated[Path, typer.Argument(help="predictions file written by `evaluate`")],
    theirs: Annotated[Path, typer.Argument(help="predictions of another model for the same questions")],
) -> None:
    """Compare the predictions of two models on the same questions.

    Prints the scores of both, and paired differences, first minus second.
    """
    from uq4ct.training.evaluation.predictions import read_pair
    from uq4ct.training.evaluation.scores import compute_scores, paired_differences
    from uq4ct.training.evaluation.tables import difference_table, score_table

    pair = read_pair(ours, theirs)
    columns = {str(path): compute_scores(scored) for path, scored in zip((ours, theirs), pair, strict=True)}
    console.print(score_table(columns, "scores"))
    console.print(difference_table(paired_differences(*pair), f"{ours} minus {theirs}"))
