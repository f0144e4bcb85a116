"""`uq4ct publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uq4ct.model_store.uncertainty.conformal import ConformalScore
from uq4ct.training.calibration_name import CalibrationName
from uq4ct.training.commands.options import BaseFoldersOption, StoreOption, base_folders_of, console
from uq4ct.training.console import say


def publish(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    run: Annotated[Path, typer.Argument(help="folder of a finished run")],
    store: StoreOption = None,
    promote: Annotated[bool, typer.Option("--promote", help="make it the production version")] = False,
    calibration: Annotated[
        CalibrationName | None, typer.Option(help="calibration to fit; default: the recipe's")
    ] = None,
    allow_weak_calibration: Annotated[
        bool,
        typer.Option(
            "--allow-weak-calibration", help="store a calibration fitted on too few questions or at a bound, too"
        ),
    ] = False,
    target_risk: Annotated[
        float | None, typer.Option(help="abstain so that at most this share of the answers given is wrong")
    ] = None,
    target_coverage: Annotated[
        float | None, typer.Option(help="abstain, but answer at least this share of the questions")
    ] = None,
    guarantee: Annotated[float, typer.Option(help="probability with which the target holds")] = 0.95,
    set_coverage: Annotated[float, typer.Option(help="share of prediction sets with the right option")] = 0.9,
    set_score: Annotated[ConformalScore, typer.Option(help="score that defines the prediction sets")] = "lac",
    max_set_size: Annotated[int | None, typer.Option(help="abstain if the prediction set is larger")] = None,
    base_folders: BaseFoldersOption = None,
) -> None:
    """Score a finished run and store it as the next version of its name."""
    from uq4ct.model_store.storage.registry import Registry, default_store_dir
    from uq4ct.training.evaluation.decision_fitting import decision_targets
    from uq4ct.training.evaluation.publication import publish_run
    from uq4ct.training.evaluation.tables import decision_table, score_table
    from uq4ct.training.model_process import prepare_process

    prepare_process()
    targets = decision_targets(
        target_risk,
        target_coverage,
        guarantee=guarantee,
        set_coverage=set_coverage,
        set_score=set_score,
        max_set_size=max_set_size,
    )
    registry = Registry(store or default_store_dir())
    publication = publish_run(
        run,
        registry,
        console,
        calibration=calibration,
        promote=promote,
        allow_weak_calibration=allow_weak_calibration,
        targets=targets,
        base_folders=base_folders_of(base_folders),
    )
    manifest = publication.manifest
    columns = {"before calibration": manifest.scores_before, "as served": manifest.scores_after}
    console.print(score_table({k: v for k, v in columns.items() if v is not None}, manifest.reference))
    console.print(decision_table(manifest.decisions))
    say(console, f"published {manifest.reference}")
