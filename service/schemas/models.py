"""What goes over the wire about registered models."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.decisions import Abstention, Decisions, TestedDecisions
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.storage.manifest import BatchCompany, Manifest, ReferenceHistograms, Scores
from uq4ct.model_store.uncertainty.conformal import ConformalScore
from uq4ct.service.schemas.common import AS_WHOLE, Body, Probability

ALIAS_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"


class Base(Body):
    """The base model that an adapter stands on."""

    name: str
    revision: str | None
    digest: str

    @classmethod
    def from_identity(cls, identity: BaseIdentity) -> Base:
        """What may be told of a base model: of a local folder only its last name."""
        path = PurePath(identity.name)
        is_folder = identity.name.startswith(("/", ".", "~")) or len(path.parts) > 2  # a hub id is owner/model
        return cls(name=path.name if is_folder else identity.name, revision=identity.revision, digest=identity.digest)


class SetsCard(Body):
    """How prediction sets are made."""

    score: ConformalScore
    coverage: Probability = Field(description="where a request asks for no other")
    questions: int = Field(description="that they were fitted on")
    max_set_size: int | None = Field(description="an answer whose set is larger abstains")


class DecisionsCard(Body):
    """When the adapter abstains and which sets it gives, with what that did on the test split."""

    sets: SetsCard | None
    abstention: Abstention | None
    tested: TestedDecisions | None

    @classmethod
    def from_decisions(cls, decisions: Decisions) -> DecisionsCard:
        """The stored decisions without the score of every single question."""
        sets = decisions.sets
        card = None
        if sets is not None:
            card = SetsCard(
                score=sets.score,
                coverage=sets.coverage,
                questions=len(sets.scores),
                max_set_size=sets.max_set_size,
            )
        return cls(sets=card, abstention=decisions.abstention, tested=decisions.tested)


class ModelCard(Body):
    """A registered adapter: what it is, how it scored, and what this replica does with it."""

    name: str
    version: int
    aliases: list[str]
    loaded: bool = Field(description="this replica holds it in memory")
    ready: bool = Field(description="this replica answers with it now")
    default: bool = Field(description="it answers requests that name no model")
    method: str
    digest: str = Field(description="of the adapter's weights")
    base: Base
    posterior: PosteriorConfig = Field(description="what an answer is averaged over")
    samples: int = Field(ge=1, description="sets of logits behind an answer")
    passes: int = Field(ge=1, description="what a question costs: rows of a forward, and backward passes counted alike")
    scores: Scores = Field(description="on the test split, as it answers")
    scores_before: Scores | None = Field(description="on the test split, before calibration")
    scores_untrained: Scores | None = Field(description="on the test split, base model without the adapter")
    calibration: Calibration
    reference_histograms: ReferenceHistograms
    decisions: DecisionsCard
    batch_company: BatchCompany

    @classmethod
    def from_manifest(
        cls, manifest: Manifest, aliases: list[str], *, loaded: bool, ready: bool, default: bool
    ) -> ModelCard:
        """Show a manifest without the places it was made in."""
        return cls(
            name=manifest.name,
            version=manifest.version,
            aliases=aliases,
            loaded=loaded,
            ready=ready,
            default=default,
            method=manifest.method,
            digest=manifest.adapter_digest,
            base=Base.from_identity(manifest.base),
            posterior=manifest.posterior,
            samples=manifest.posterior.samples,
            passes=manifest.posterior.passes,
            scores=manifest.scores_after,
            scores_before=manifest.scores_before,
            scores_untrained=manifest.scores_untrained,
            calibration=manifest.calibration,
            reference_histograms=manifest.reference_histograms,
            decisions=DecisionsCard.from_decisions(manifest.decisions),
            batch_company=manifest.batch_company,
        )


class DamagedModel(Body):
    """A registered adapter whose record cannot be read."""

    name: str
    version: int
    aliases: list[str]
    error: str = Field(description="the file, and what is wrong with it")


class ModelList(Body):
    """Everything in the model store."""

    models: list[ModelCard]
    damaged: list[DamagedModel] = Field(description="registered, but not to be trusted and not loaded any more")


class Promotion(Body):
    """Which version an alias is to mean; an older one rolls back."""

    version: Annotated[int, Field(strict=True, ge=1, lt=10**9), AS_WHOLE] = Field(
        description="a registered version of that name"
    )
    alias: str = Field(default="production", pattern=ALIAS_PATTERN, description="production is what a bare name means")
