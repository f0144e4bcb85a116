"""What goes over the wire; `/openapi.json` is made of these."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from uq4ct.model_store.base.identity import BaseIdentity
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.decisions import AbstainReason, Abstention, Decisions, TestedDecisions
from uq4ct.model_store.posteriors import PosteriorConfig
from uq4ct.model_store.questions import MAX_OPTIONS, MIN_OPTIONS
from uq4ct.model_store.storage.manifest import BatchCompany, Manifest, ReferenceHistograms, Scores
from uq4ct.model_store.uncertainty.conformal import ConformalScore

REFERENCE_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9_-]{1,64})?$"
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
ALIAS_PATTERN = r"^[a-z][a-z0-9_-]{0,63}$"

Probability = Annotated[float, Field(ge=0, le=1)]
Nats = Annotated[float, Field(ge=0)]


def _whole(value: object) -> object:
    """JSON's 3.0 is a whole number, too; its true and "3" are none."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_WHOLE = BeforeValidator(_whole)
ShortText = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,64}$")]

# What a request may say in the place of the adapter's own decisions, in whichever protocol it comes.
AbstainBelow = Annotated[
    Probability | None,
    Field(
        strict=True,
        description="abstain below this confidence, 0 to 1; null = the threshold that the adapter was published with",
    ),
]
Coverage = Annotated[
    Probability | None,
    Field(
        strict=True,
        description="of the prediction set, 0 to 1; null = the coverage that the adapter was published with",
    ),
]
Task = Annotated[ShortText | None, Field(description="one of the configured TASKS; anything else counts as `other`")]


def _is_none(value: object) -> bool:
    return value is None


class Body(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class PredictRequest(Body):
    """One multiple-choice question."""

    # Lengths and distinctness are only declared here: `Question` enforces them, so that there is one set of rules.
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"question": "Which metal is liquid at room temperature?", "options": ["Iron", "Mercury"]}]
        }
    )

    question: str = Field(description="the text of the question, not empty", json_schema_extra={"minLength": 1})
    options: list[str] = Field(
        fail_fast=True,  # one complaint about a list of a million numbers is enough
        description="distinct texts, none of them empty",
        json_schema_extra={
            "minItems": MIN_OPTIONS,
            "maxItems": MAX_OPTIONS,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1},
        },
    )
    context: str | None = Field(default=None, description="a passage that the question is about")
    model: str | None = Field(
        default=None,
        pattern=REFERENCE_PATTERN,
        description="name (its production version) or name@version; null = the default",
    )
    abstain_below: AbstainBelow = None
    coverage: Coverage = None
    task: Task = None
    idempotency_key: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="asked again with the same body, the first answer comes back; needs the ledger",
    )
    tags: list[ShortText] = Field(
        default=[], max_length=8, description="kept with the prediction, and used for nothing"
    )


class BatchRequest(Body):
    """Several questions; each is checked and answered by itself."""

    questions: list[Any] = Field(
        json_schema_extra={"minItems": 1, "items": {"$ref": "#/components/schemas/PredictRequest"}}
    )


class Option(Body):
    """The chosen option."""

    index: int = Field(ge=0, description="position among the options")
    label: str = Field(description="letter of that position, from A")
    text: str


class LabelProbability(Body):
    """The probability of one option."""

    label: str
    probability: Probability


class Uncertainty(Body):
    """Entropies in nats, the two parts null where one pass cannot tell them apart, and a score of the method's own."""

    total: Nats = Field(description="entropy of the mean of the samples")
    aleatoric: Nats | None = Field(description="mean of the entropies of the samples")
    epistemic: Nats | None = Field(description="mutual information of option and sample")
    error_score: float | None = Field(
        description="high = likely wrong: of adue a probability of error, of mahalanobis a squared distance; "
        "null for others"
    )


class PredictResponse(Body):
    """An answer and how sure it is."""

    prediction_id: str = Field(description="UUID of version 7, ordered by time")
    model: str = Field(description="name@version of the adapter that answered")
    method: str
    option: Option
    confidence: Probability = Field(description="probability of the chosen option")
    probabilities: list[LabelProbability] = Field(description="in the order of the options; they add up to 1")
    feu: float | None = Field(
        description="functional uncertainty, share of routing mass that was kept: high = the routers are sure; "
        "null for methods without routers"
    )
    uncertainty: Uncertainty
    abstain: bool = Field(description="do not act on this answer")
    abstain_reason: AbstainReason | None = Field(
        description="below_threshold: the confidence is; set_too_large: more options stay possible than were allowed"
    )
    threshold: Probability | None = Field(description="confidence below which it abstains; null where none is set")
    prediction_set: list[str] | None = Field(
        description="labels of the options that stay possible at this coverage; null where none was fitted"
    )
    coverage: Probability | None = Field(description="probability with which such sets hold the right option")


class FieldError(Body):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(Body):
    """A problem document (RFC 9457)."""

    type: str = Field(description="identifies the kind of problem; stable")
    title: str
    status: int
    detail: str
    request_id: str = Field(description="also in the header X-Request-ID")
    errors: list[FieldError] = Field(default=[], description="the offending fields, where there are any")
    tokens: int | None = Field(default=None, exclude_if=_is_none, description="tokens of a question that is too long")
    limit: int | None = Field(default=None, exclude_if=_is_none, description="the limit that the request is over")


class BatchResponse(Body):
    """One answer or problem for each question, in their order."""

    results: list[PredictResponse | Problem]


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


class Live(Body):
    """The process runs."""

    status: Literal["live"] = "live"


class Ready(Body):
    """The replica takes questions."""

    status: Literal["ready"] = "ready"
    model: str = Field(description="name@version of the default model")
