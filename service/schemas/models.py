"""Request and response bodies about registered models."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.decisions import Abstention, Decisions, TestedDecisions
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.storage.manifest import BatchCompany, Manifest, ReferenceHistograms, Scores
from uq4ct.model_store.storage.promotions import PromotionEntry
from uq4ct.model_store.storage.summaries import Summary
from uq4ct.model_store.uncertainty.conformal import ConformalScore
from uq4ct.service.schemas.common import AS_WHOLE, Body, Probability

ALIAS_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"
CURSOR_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}@[0-9]{1,9}$"


class Base(Body):
    """The base model of an adapter."""

    name: str
    revision: str | None
    digest: str

    @classmethod
    def from_identity(cls, identity: BaseIdentity) -> Base:
        """Convert a base model's identity; of a local folder only the last part of the path is shown."""
        path = PurePath(identity.name)
        is_folder = identity.name.startswith(("/", ".", "~")) or len(path.parts) > 2  # a hub id is owner/model
        return cls(name=path.name if is_folder else identity.name, revision=identity.revision, digest=identity.digest)


class SetsCard(Body):
    """How prediction sets are built."""

    score: ConformalScore
    coverage: Probability = Field(description="if the request does not set one")
    questions: int = Field(description="number of questions that the sets were fitted on")
    max_set_size: int | None = Field(description="the adapter abstains if the set is larger")


class DecisionsCard(Body):
    """When the adapter abstains and how it builds sets, with the results on the test split."""

    sets: SetsCard | None
    abstention: Abstention | None
    tested: TestedDecisions | None

    @classmethod
    def from_decisions(cls, decisions: Decisions) -> DecisionsCard:
        """Convert the stored decisions without the scores of individual questions."""
        sets = decisions.sets
        card = None
        if sets is not None:
            card = SetsCard(
                score=sets.score,
                coverage=sets.coverage,
                questions=sets.questions,
                max_set_size=sets.max_set_size,
            )
        return cls(sets=card, abstention=decisions.abstention, tested=decisions.tested)


class ModelSummary(Body):
    """A registered adapter in a list: its state on this replica and its scores."""

    name: str
    version: int
    aliases: list[str]
    loaded: bool = Field(description="whether it is in this replica's memory")
    ready: bool = Field(description="whether this replica can answer with it now")
    default: bool = Field(description="whether it answers requests that name no model")
    method: str
    digest: str = Field(description="of the adapter's weights")
    base: Base
    samples: int = Field(ge=1, description="sets of logits per answer")
    passes: int = Field(
        ge=1, description="cost of a question: rows of a forward pass, with backward passes counted alike"
    )
    scores: Scores = Field(description="on the test split, as served")

    @classmethod
    def from_summary(
        cls, summary: Summary, aliases: list[str], *, loaded: bool, ready: bool, default: bool
    ) -> ModelSummary:
        """Convert the summary of a stored version, leaving out the path in it."""
        return cls(
            name=summary.name,
            version=summary.version,
            aliases=aliases,
            loaded=loaded,
            ready=ready,
            default=default,
            method=summary.method,
            digest=summary.adapter_digest,
            base=Base.from_identity(summary.base),
            samples=summary.samples,
            passes=summary.passes,
            scores=summary.scores,
        )


class ModelCard(ModelSummary):
    """A registered adapter: description, scores and state on this replica."""

    posterior: PosteriorConfig = Field(description="distribution that an answer is averaged over")
    scores_before: Scores | None = Field(description="on the test split, before calibration")
    scores_untrained: Scores | None = Field(description="on the test split, by the base model without the adapter")
    calibration: Calibration
    reference_histograms: ReferenceHistograms
    decisions: DecisionsCard
    batch_company: BatchCompany

    @classmethod
    def from_manifest(
        cls, manifest: Manifest, aliases: list[str], *, loaded: bool, ready: bool, default: bool
    ) -> ModelCard:
        """Convert a manifest, leaving out the paths in it."""
        listed = ModelSummary.from_summary(Summary.of(manifest), aliases, loaded=loaded, ready=ready, default=default)
        return cls(
            **dict(listed),
            posterior=manifest.posterior,
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
    version: int | None = Field(description="null if the whole directory of the name cannot be read")
    aliases: list[str]
    error: str = Field(description="the damaged file and what is wrong with it")


class ModelList(Body):
    """A page of the model store, in the order of names and versions."""

    models: list[ModelSummary]
    damaged: list[DamagedModel] = Field(description="registered versions with damaged files; they cannot be loaded")
    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class Promotion(Body):
    """The version to point an alias to; an older version rolls back."""

    version: Annotated[int, Field(strict=True, ge=1, lt=10**9), AS_WHOLE] = Field(
        description="a registered version of the name"
    )
    alias: str = Field(
        default="production",
        pattern=ALIAS_PATTERN,
        description="alias to change; a name without a version resolves to `production`",
    )


class PromotionView(Body):
    """A change of an alias."""

    alias: str
    version: int
    previous: int | None = Field(description="the version before; null for the first")
    promoted_at: datetime.datetime


class PromotionHistory(Body):
    """Where the aliases of a name point, and how they were changed."""

    aliases: dict[str, int] = Field(description="the version of each alias now")
    promotions: list[PromotionView] = Field(
        description="the last 100 changes, the newest first; without those made by versions that kept no record"
    )

    @classmethod
    def from_entries(cls, aliases: dict[str, int], entries: Sequence[PromotionEntry]) -> PromotionHistory:
        """Convert entries that are listed oldest first."""
        return cls(aliases=aliases, promotions=[PromotionView(**dict(entry)) for entry in reversed(entries)])
