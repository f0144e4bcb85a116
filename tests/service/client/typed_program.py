"""A program that uses every public name of the client as its types say; `test_typing` checks it."""

from __future__ import annotations

from collections.abc import Sequence

from uq4ct.client import (
    Answered,
    Ask,
    AsyncClient,
    AsyncFallback,
    Calibration,
    Client,
    ClientError,
    ClosedClientError,
    ConflictError,
    CsvReport,
    Declined,
    Fallback,
    FeedbackReceipt,
    InvalidArgumentError,
    InvalidRequestError,
    Label,
    ModelCard,
    ModelList,
    NotAllowedError,
    NotFoundError,
    Prediction,
    Problem,
    Retries,
    ServiceError,
    ServiceFailedError,
    StoredPrediction,
    UnavailableError,
    UnreachableError,
    UnreadableResponseError,
    UnusableProxyError,
)

OPTIONS = ["Madrid", "Paris"]


class Table:
    """A table of any library."""


def ask_a_person(declined: Declined) -> int:
    """Answer instead of the service."""
    if declined.error is not None:
        print(declined.reason, str(declined.error))
    return 0 if declined.prediction is None else declined.prediction.option.index


async def ask_a_person_later(declined: Declined) -> int:
    """Answer instead of the service, after a while."""
    return ask_a_person(declined)


def show(results: Sequence[Prediction | Problem]) -> list[str]:
    """Return the answers, or the reasons why there are none."""
    return [one.detail if isinstance(one, Problem) else one.option.text for one in results]


def tell(done: int, total: int) -> None:
    """Show how far a batch is."""
    print(f"{done / total:.0%}")


def use(client: Client, table: Table) -> CsvReport:
    """Call every method."""
    fallback: Fallback[int] = ask_a_person
    prediction: Prediction = client.predict("Capital of France?", OPTIONS, context="A passage.", abstain_below=0.6)
    answered: Answered[int] = client.answer_or("Capital of France?", OPTIONS, fallback, model="quickstart@1")
    answer: str | int = answered.answer
    asks: list[Ask] = [{"question": "Capital of France?", "options": ("Madrid", "Paris"), "tags": ["a"]}]
    texts: list[str] = show(client.predict_batch((one for one in asks), concurrency=2, progress=tell))
    texts += show(client.predict_batch([{"question": "Which?", "options": OPTIONS, "idempotency_key": "k"}]))
    label: Label = {"prediction_id": prediction.prediction_id, "answer": "B", "source": "audit"}
    receipt: FeedbackReceipt = client.feedback(label)
    receipts: list[FeedbackReceipt | Problem] = client.feedback_batch([label, {"prediction_id": "p", "answer": 1}])
    stored: StoredPrediction = client.prediction(receipt.prediction_id)
    wrong: list[StoredPrediction] = list(client.predictions(window="7d", confidence_from=0.9, correct=False))
    tenants: set[str] = {one.tenant for one in [stored, *wrong]}
    models: ModelList = client.models()
    card: ModelCard = client.model(models.models[0].reference)
    report: Calibration = client.calibration("24h", model=card.name)
    alarms: list[bool] = [test.alarm for cohort in report.models for test in cohort.sequential]
    joined: Table = client.predict_frame(table, "question", OPTIONS, prefix="p_", coverage=0.9)
    print(answer, answered.by, texts, receipts, stored.label, tenants, alarms, joined)
    return client.predict_csv("in.csv", "out.csv", "question", "options", model="quickstart", progress=tell)


async def use_async(table: Table) -> CsvReport:
    """Call every method of the asynchronous client."""
    fallback: AsyncFallback[int] = ask_a_person_later
    async with AsyncClient("http://127.0.0.1:8000", api_key="k", retries=Retries(attempts=2)) as client:
        prediction: Prediction = await client.predict("Which?", OPTIONS)
        answered: Answered[int] = await client.answer_or("Which?", OPTIONS, fallback, coverage=0.9)
        results: list[Prediction | Problem] = await client.predict_batch([{"question": "Which?", "options": OPTIONS}])
        receipt: FeedbackReceipt = await client.feedback({"prediction_id": prediction.prediction_id, "answer": 0})
        receipts: list[FeedbackReceipt | Problem] = await client.feedback_batch([], progress=tell)
        stored: StoredPrediction = await client.prediction(receipt.prediction_id)
        wrong: list[StoredPrediction] = [one async for one in client.predictions(model="quickstart", labelled=True)]
        models: ModelList = await client.models()
        card: ModelCard = await client.model("quickstart")
        report: Calibration = await client.calibration()
        joined: Table = await client.predict_frame(table, "question", "options", task="quiz")
        print(answered.prediction, show(results), receipts, [stored, *wrong], models.damaged, card, report, joined)
        return await client.predict_csv("in.csv", "out.csv", "question", OPTIONS)


def explain(error: ClientError) -> str:
    """Return what to do about an error."""
    match error:
        case NotAllowedError() | NotFoundError() | ConflictError() | InvalidRequestError():
            return f"{error.status}: {[one.field for one in error.problem.errors] if error.problem else 'no problem'}"
        case UnavailableError() | ServiceFailedError() | UnreachableError():
            return "try later"
        case ServiceError() | UnreadableResponseError() | UnusableProxyError():
            return "ask the operator"
        case InvalidArgumentError() | ClosedClientError():
            return f"mend the program: {error}"
        case _:
            return str(error)


def main() -> None:
    """Run the program."""
    try:
        with Client("http://127.0.0.1:8000", timeout=60) as client:
            report = use(client, Table())
            print(report.rows, report.kept, report.errors)
    except ClientError as error:
        print(explain(error))
