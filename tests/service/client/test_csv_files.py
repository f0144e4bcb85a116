"""Questions in a CSV file: answered row by row, and continued after an interruption."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.service.client.echo_service import EchoService
from tests.service.client.scripted_service import PREDICTION, PROBLEM, Script, both_forms, refusal
from tests.service.conftest import Start
from tests.service.listening import on_a_socket
from uq4ct.client import Client, CsvReport, InvalidArgumentError, NotAllowedError, Retries, UnavailableError
from uq4ct.service.client.csv_output import read_whole_rows

NEW = [
    "predicted", "predicted_index", "confidence", "feu", "abstained", "prediction_id", "error", "idempotency_key",
]  # fmt: skip
HEADER = ["id", "question", "a", "b", "c"]
ONCE = Retries(attempts=1)


def write_csv(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """300 questions, some with line ends, quotes and letters beyond ASCII; every tenth lacks an option."""
    rows = [
        [f"n{number}", f'Qüestion {number},\n“{number % 7}"?', "x", "" if number % 10 == 0 else "y", "z"]
        for number in range(300)
    ]
    return write_csv(tmp_path / "in.csv", rows)


def answer(form: str, source: Path, output: Path, service: EchoService, **arguments: Any) -> CsvReport:
    def call(client: Any) -> Any:
        return client.predict_csv(source, output, question="question", options=["a", "b", "c"], **arguments)

    return Script().run(form, call, retries=ONCE, **service.settings)


def keys(service: EchoService) -> list[str]:
    return [item["idempotency_key"] for items in service.items for item in items]


@both_forms
def test_each_row_gets_its_answer(form: str, source: Path, tmp_path: Path) -> None:
    service, told = EchoService(), list[tuple[int, int]]()
    report = answer(form, source, tmp_path / "out.csv", service, progress=lambda *now: told.append(now))
    assert report == CsvReport(rows=300, kept=0, errors=0)
    given, rows = read_rows(source), read_rows(tmp_path / "out.csv")
    assert [{name: row[name] for name in HEADER} for row in rows] == given
    assert [row["prediction_id"] for row in rows] == [row["question"] for row in given]
    assert [row["predicted_index"] for row in rows[:2]] == ["2", "1"], (
        "the index is that of the column, not of what is sent"
    )
    assert {(row["predicted"], row["confidence"], row["abstained"], row["error"]) for row in rows} == {
        (PREDICTION["option"]["text"], str(PREDICTION["confidence"]), str(PREDICTION["abstain"]).lower(), ""),
    }  # fmt: skip
    assert list(rows[0]) == [*HEADER, *NEW]
    assert told == [(0, 300), (64, 300), (128, 300), (192, 300), (256, 300), (300, 300)]
    assert {len(item["options"]) for item in service.items[0]} == {2, 3}


@both_forms
@pytest.mark.parametrize("stop", ["n0", "n70", "n299"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_run_that_was_killed_continues_and_ends_like_one_that_was_not(
    form: str, stop: str, concurrency: int, source: Path, tmp_path: Path
) -> None:
    """An answer that was on its way is asked again under its key, and no row that was written is."""
    whole = EchoService()
    answer(form, source, tmp_path / "whole.csv", whole)
    wanted = (tmp_path / "whole.csv").read_bytes()

    def die(texts: list[str]) -> None:
        if any(text.startswith(f"Qüestion {stop[1:]},") for text in texts):
            raise KeyboardInterrupt

    killed, resumed, output = EchoService(judge=die), EchoService(), tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        answer(form, source, output, killed, concurrency=concurrency)
    kept = len(read_rows(output))
    whole_chunks = int(stop[1:]) // 64 * 64
    assert kept == whole_chunks if form == "sync" else kept <= whole_chunks, "asyncio itself ends at an interruption"
    assert wanted.startswith(output.read_bytes())
    assert answer(form, source, output, resumed) == CsvReport(rows=300, kept=kept, errors=0)
    assert output.read_bytes() == wanted
    written = [row["idempotency_key"] for row in read_rows(output)]
    assert sorted(keys(whole)) == sorted(written)
    assert sorted(keys(resumed)) == sorted(written[kept:])
    assert set(written[:kept]) <= set(keys(killed)) <= set(written)
    assert len(set(written)) == 300


def test_an_output_that_was_cut_at_any_byte_is_completed(tmp_path: Path) -> None:
    rows = [[str(number), f'Q\n"{number}é"', "x", "y", ""] for number in range(3)]
    source, output = write_csv(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    answer("sync", source, output, EchoService())
    wanted = output.read_bytes()
    for length in range(len(wanted) + 1):
        output.write_bytes(wanted[:length])
        service = EchoService()
        report = answer("sync", source, output, service)
        assert output.read_bytes() == wanted, length
        assert report.kept + len(keys(service)) == 3


@pytest.mark.anyio
async def test_a_row_that_occurs_again_has_the_prediction_of_the_first(start: Start, tmp_path: Path) -> None:
    rows = [[str(number), f"Q{number % 3}", "x", "y", ""] for number in range(200)]
    source = write_csv(tmp_path / "in.csv", rows)

    def ask(address: str, output: Path) -> CsvReport:
        with Client(address) as client:
            return client.predict_csv(source, output, question="question", options=["a", "b", "c"])

    async with start() as replica, on_a_socket(replica) as address:
        for name in ("first.csv", "second.csv"):
            report = await asyncio.to_thread(ask, address, tmp_path / name)
            assert report == CsvReport(rows=200, kept=0, errors=0)
        stored = (await replica.client.get("/calibration")).json()["models"][0]["predictions"]
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()
    assert len({row["prediction_id"] for row in read_rows(tmp_path / "first.csv")}) == stored == 3


def test_a_finished_output_asks_nothing(source: Path, tmp_path: Path) -> None:
    answer("sync", source, tmp_path / "out.csv", EchoService())
    service = EchoService()
    assert answer("sync", source, tmp_path / "out.csv", service) == CsvReport(rows=300, kept=300, errors=0)
    assert service.items == []


def test_an_invalid_row_is_an_error_in_its_place(tmp_path: Path) -> None:
    rows = [
        ["1", "good", "x", "y", ""],
        ["2", "", "x", "y", ""],
        ["3", "bad", "x", "", ""],
        ["4", "good", "x", "y", ""],
    ]
    source, output = write_csv(tmp_path / "in.csv", rows), tmp_path / "out.csv"

    class Service(EchoService):
        def handle(self, request: httpx2.Request) -> httpx2.Response:
            super().handle(request)
            problem = PROBLEM | {"status": 422, "detail": "options: too few"}
            results = [problem if item["question"] == "bad" else PREDICTION for item in self.items[-1]]
            return httpx2.Response(200, json={"results": results})

    service = Service()
    assert answer("sync", source, output, service) == CsvReport(rows=4, kept=0, errors=2)
    assert [row["error"] for row in read_rows(output)] == ["", "question: is missing", "422 options: too few", ""]
    assert answer("sync", source, output, service) == CsvReport(rows=4, kept=4, errors=2)
    first, _, last = keys(service)
    assert first == last, "the same row makes no second prediction"


@pytest.mark.parametrize(("status", "kind"), [(503, UnavailableError), (504, UnavailableError), (403, NotAllowedError)])
def test_a_problem_that_is_not_of_the_row_ends_the_run_and_keeps_what_was_before(
    status: int, kind: type[Exception], source: Path, tmp_path: Path
) -> None:
    class Service(EchoService):
        def handle(self, request: httpx2.Request) -> httpx2.Response:
            super().handle(request)
            results: list[Any] = [PREDICTION] * len(self.items[-1])
            results[5] = PROBLEM | {"status": status}
            return httpx2.Response(200, json={"results": results})

    with pytest.raises(kind, match=str(status)):
        answer("sync", source, tmp_path / "out.csv", Service())
    assert len(read_rows(tmp_path / "out.csv")) == 5


def test_an_error_of_the_service_keeps_the_rows_before(source: Path, tmp_path: Path) -> None:
    service = EchoService(judge=lambda texts: refusal(401) if len(texts) < 64 else None)
    with pytest.raises(NotAllowedError):
        answer("sync", source, tmp_path / "out.csv", service)
    assert len(read_rows(tmp_path / "out.csv")) == 256


def _other_input(source: Path) -> None:
    source.write_text(source.read_text(encoding="utf-8").replace("n2,", "n200,"), encoding="utf-8")


def _shorter_input(source: Path) -> None:
    write_csv(source, [list(row.values()) for row in read_rows(source)[:10]])


def _other_columns(source: Path) -> None:
    write_csv(source, [list(row.values()) for row in read_rows(source)], [*HEADER[:-1], "d"][:5])


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (
            _other_input,
            {},
            r"output: row 3 of .*out.csv was not made from row 3 of .*in.csv with these arg",
        ),
        (_shorter_input, {}, "output: row 11 of .* was not made from row 11"),
        (_other_columns, {"options": ["a", "b"]}, "output: .*out.csv has other columns than this input"),
        (lambda source: None, {"model": "other@2"}, "output: row 1 of .* with these arguments"),
        (lambda source: None, {"options": ["a", "b"]}, "output: row 1 of .* with these arguments"),
        (lambda source: None, {"prefix": "p_"}, "output: .* has other columns"),
    ],
)
def test_an_output_of_another_input_or_of_other_arguments_is_refused_and_kept(
    change: Callable[[Path], None], arguments: dict[str, Any], message: str, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    answer("sync", source, output, EchoService())
    before = output.read_bytes()
    change(source)
    service = EchoService()
    call: dict[str, Any] = {"question": "question", "options": ["a", "b", "c"]} | arguments
    with Client("http://service", **service.settings) as client, pytest.raises(InvalidArgumentError, match=message):
        client.predict_csv(source, output, **call)
    assert output.read_bytes() == before
    assert service.items == []


@pytest.mark.parametrize("text", ["a note", "a note\n", "question\n1\n", '"', "id,question,a,b,c\n1,q,x,y,z\n"])
def test_a_file_of_something_else_is_not_overwritten(text: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text(text)
    with pytest.raises(InvalidArgumentError, match=r"^output: .*out\.csv"):
        answer("sync", source, output, EchoService())
    assert output.read_text() == text


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (b"", {}, r"source: .*in\.csv has no header"),
        (b"question,a,b\nq,x\n", {}, r"source: .*in\.csv line 2: 2 cells, but the header has 3"),
        (b"question,a,b\nq,x,\xff\n", {}, r"source: .*in\.csv is no CSV file in UTF-8: "),
        (b'question,a,b\n"q,x,y\n', {}, r"source: .*in\.csv is no CSV file in UTF-8: "),
        (b"question,a,b\nq,x,y\n", {"question": "text"}, r"question: no column 'text' \(columns: question, a, b\)"),
        (b"question,a,b\nq,x,y\n", {"options": ["a", "B"]}, r"options: no column 'B'"),
        (b"question,a,a\nq,x,y\n", {"options": ["a"]}, r"options: several columns 'a'"),
        (b"question,a,error\nq,x,y\n", {"options": ["a"]}, r"source: already has the column 'error'; set prefix="),
        (b"question,a,b\nq,x,y\n", {"source": "none.csv"}, r"source: none\.csv: No such file or directory"),
        (b"question,a,b\nq,x,y\n", {"source": None}, r"source: must be a path \(got None\)"),
        (b"question,a,b\nq,x,y\n", {"output": "in.csv"}, r"output: must be another file than source \(got in\.csv\)"),
        (b"question,a,b\nq,x,y\n", {"output": "no/out.csv"}, r"output: no/out\.csv: No such file or directory"),
        (b"question,a,b\nq,x,y\n", {"concurrency": 0}, r"concurrency: must be a whole number"),
        (b"question,a,b\nq,x,y\n", {"coverage": float("nan")}, r"coverage: must be finite"),
        (b"question,a,b\nq,x,y\n", {"answer_below": 1}, r"answer_below: is no field that rows can share"),
    ],
)
def test_files_and_arguments_are_named(
    text: bytes, arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_bytes(text)
    call: dict[str, Any] = {"source": "in.csv", "output": "out.csv", "question": "question", "options": ["a", "b"]}
    service = EchoService()
    with Client("http://service", **service.settings) as client, pytest.raises(InvalidArgumentError) as caught:
        client.predict_csv(**(call | arguments))
    assert re.match(message, str(caught.value)), caught.value
    assert service.items == []
    assert not Path("out.csv").exists()


def test_one_column_may_hold_the_options_as_json(tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    write_csv(source, [["q", '["x", "y"]'], ["q", "x|y"], ["q", ""]], ["question", "options"])
    source.write_bytes(b"\xef\xbb\xbf" + source.read_bytes())
    service = EchoService()
    with Client("http://service", **service.settings) as client:
        client.predict_csv(source, output, question="question", options="options", model="toy@1")
    assert [row["error"] for row in read_rows(output)] == [
        "", "options: must be several texts (got the single text 'x|y')", "options: is missing",
    ]  # fmt: skip
    assert [(item["options"], item["model"]) for item in service.items[0]] == [(["x", "y"], "toy@1")]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(
    terminal: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    shown.isatty = lambda: terminal
    monkeypatch.setattr("sys.stderr", shown)
    answer("sync", source, tmp_path / "out.csv", EchoService())
    counts = "".join(f"\r{done} of 300 rows" for done in (0, 64, 128, 192, 256, 300))
    assert shown.getvalue() == (f"{counts}\n" if terminal else "")


def test_each_row_is_on_disk_before_the_next_chunk_is_awaited(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    seen: list[int] = []

    def judge(texts: list[str]) -> None:
        seen.append(sum(1 for _ in read_whole_rows(output)) - 1)

    answer("sync", source, output, EchoService(judge=judge), concurrency=1)
    assert seen == [0, 64, 128, 192, 256]
