"""Ask a question in a real browser, read the answer, and report the correct option."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import torch
from selenium.webdriver.common.keys import Keys

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import DECISIONS, draft
from tests.service.fake_predictor import TOKEN_LIMIT, FakePredictor, answer_to
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from uq4ct.model_store.decisions import ConformalSets
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.slow
TEXT = "Which metal is liquid at room temperature?"
OPTIONS = ("Iron", "Mercury", "Gallium")
ANSWER = answer_to(Question("", TEXT, OPTIONS))
FACTS = """
const terms = [...document.querySelectorAll('#answer dt')];
return Object.fromEntries(terms.map(term => [term.textContent, term.nextElementSibling.textContent]));
"""


def prediction_id(page: Page) -> str:
    """Return the id of the prediction on the page."""
    return page.run("return document.querySelector('#answer').textContent.match(/Prediction ([0-9a-f-]{36})/)[1]")


def test_an_answer_shows_what_the_api_says(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        assert page.text("#answer .chosen").split(maxsplit=1) == ["ABC"[ANSWER.option], OPTIONS[ANSWER.option]]
        rows = page.all("#answer .bars li")
        bar = page.run(
            "return [...document.querySelectorAll('.fill')].map(f => f.offsetWidth / f.parentElement.clientWidth)"
        )
        for row, width, option, p in zip(rows, bar, OPTIONS, ANSWER.probabilities, strict=True):
            assert option in row.text
            assert f"{100 * p:.1f} %" in row.text
            assert width == pytest.approx(p, abs=0.01)
            assert ("chosen" in row.text) is (option == OPTIONS[ANSWER.option])
        stored = httpx2.get(f"{address}/predictions/{prediction_id(page)}").json()
        shown = page.run(FACTS)
        assert shown["Confidence"] == f"{ANSWER.confidence:.3f}"
        assert shown["FEU"] == f"{ANSWER.feu:.3f}"
        assert shown["Uncertainty"] == f"{ANSWER.total:.3f} nats"
        assert shown["Prediction set"] == (", ".join(stored["prediction_set"]) or "empty")
        assert shown["Answered by"] == "toy@1, uq4ct"
        assert [label for label, row in zip("ABC", rows, strict=True) if "in the set" in row.text] == stored[
            "prediction_set"
        ]
        assert OPTIONS[ANSWER.option] in page.run("return document.querySelector('#announcer').textContent")


HOLD = """
const real = window.fetch;
window.fetch = (...request) => new Promise(resolve => { window.release = () => resolve(real(...request)); });
"""


def test_the_previous_answer_goes_before_the_next_one_comes(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        page.run(HOLD)
        page.one("#question-send").click()
        assert page.text("#answer") == "Waiting for the answer"
        assert page.one("#answer").get_attribute("aria-busy") == "true"
        assert page.driver.switch_to.active_element == page.one("#question-send")
        page.one("#question-send").click()  # has no effect now
        page.run("window.release()")
        page.until(lambda: page.all("#answer .chosen"))
        assert page.one("#answer").get_attribute("aria-busy") is None
        assert page.driver.switch_to.active_element == page.one("#question-send")


def test_a_label_keeps_the_focus_in_the_answer(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        page.label(1)
        page.until_text("#answer .result", "Stored.")
        page.until(lambda: page.driver.switch_to.active_element == page.one("#answer .result"))


def test_no_probability_inside_0_and_1_is_shown_as_one_of_them(serve: Serve, page: Page) -> None:
    values = [0, 0.0001, 0.00049, 0.0005, 0.5, 0.9994, 0.9995, 0.9998, 1]
    script = """
    const [values, done] = arguments;
    import(new URL('page/numbers.js', document.baseURI).href).then(numbers =>
      done(values.map(value => [numbers.probability(value), numbers.percent(value)])));
    """
    with serve() as address:
        page.open_loaded(address)
        shown = page.driver.execute_async_script(script, values)
    assert [[text.replace("\xa0", " ") for text in pair] for pair in shown] == [
        ["0.000", "0.0 %"],
        ["< 0.001", "< 0.1 %"],
        ["< 0.001", "< 0.1 %"],
        ["0.001", "0.1 %"],
        ["0.500", "50.0 %"],
        ["0.999", "99.9 %"],
        ["> 0.999", "> 99.9 %"],
        ["> 0.999", "> 99.9 %"],
        ["1.000", "100.0 %"],
    ]


@pytest.mark.parametrize("threshold", ["1", "0"])
def test_abstention_says_why(serve: Serve, page: Page, threshold: str) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.one("#question-threshold").send_keys(threshold)
        page.ask(TEXT, *OPTIONS)
        words = page.text("#answer .decision")
        assert words.startswith("Abstains.") is (threshold == "1")
        assert f"{ANSWER.confidence:.3f}" in words
        assert f"threshold {'' if threshold == '1' else 'is '}{float(threshold):.3f}" in words


def test_an_error_score_is_explained_where_there_is_one(serve: Serve, page: Page, predictor: FakePredictor) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        assert "Error score" not in page.run(FACTS)
        predictor.spoil = {"error_score": 12.0625}
        page.one("#question-send").click()
        page.until_text("#answer", "Error score")
        assert page.run(FACTS)["Error score"] == "12.063"
        assert "High: the answer is likely wrong." in page.text("#answer")


def test_a_set_that_is_too_large_is_a_reason_of_its_own(serve: Serve, page: Page, own_adapters: Registry) -> None:
    sets = ConformalSets(
        score="lac", coverage=0.9, max_set_size=1, questions=30, scores=tuple(0.9 + i / 1000 for i in range(30))
    )
    decisions = DECISIONS.model_copy(update={"sets": sets})
    own_adapters.publish(
        draft("strict").model_copy(update={"decisions": decisions}), {"w": torch.ones(2)}, {}, promote=True
    )
    with serve(adapters=own_adapters) as address:
        page.open_loaded(address)
        page.type_over("#question-model", "strict@1")
        page.one("#question-threshold").send_keys("0")
        page.one("#question-coverage").send_keys("0.95")
        page.ask(TEXT, *OPTIONS)
        answer = httpx2.get(f"{address}/predictions/{prediction_id(page)}").json()
        assert (answer["model"], answer["coverage"], answer["abstain_reason"]) == ("strict@1", 0.95, "set_too_large")
        assert f"{len(answer['prediction_set'])} options remain possible" in page.text("#answer .decision")
        assert page.run(FACTS)["Prediction set"] == ", ".join(answer["prediction_set"])


def test_the_true_answer_is_stored_and_counted(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        true = (ANSWER.option + 1) % 3
        page.label(true)
        page.until_text("#answer .result", "Stored. The answer was wrong.")
        label = httpx2.get(f"{address}/predictions/{prediction_id(page)}").json()["label"]
        assert (label["option"]["index"], label["correct"], label["source"]) == (true, False, "operator's page")
        assert "from 1 label." in page.until_text("#calibration-body", "from 1 label")
        assert not any(button.is_enabled() for button in page.all("#answer .feedback button"))


def test_a_label_that_conflicts_is_a_problem_that_leaves_the_buttons(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        told = {"prediction_id": prediction_id(page), "answer": 0}
        assert httpx2.post(f"{address}/feedback", json=told).status_code == 200
        page.label(2)
        assert "The prediction already has a different label" in page.until_text("#answer .result", "label")
        assert all(button.is_enabled() for button in page.all("#answer .feedback button"))
        assert page.driver.switch_to.active_element == page.all("#answer .feedback button")[2]


def test_a_label_can_be_taken_back_before_it_is_stored(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        buttons = page.all("#answer .feedback .buttons button")
        buttons[0].click()
        assert page.text("#answer .result p") == "A will be stored as the right option in 5 seconds."
        assert page.driver.switch_to.active_element.text == "Undo"
        page.press(Keys.RETURN)
        page.until(lambda: page.driver.switch_to.active_element == buttons[0])
        assert page.text("#answer .result") == ""
        assert all(button.is_enabled() for button in buttons)
        buttons[1].click()
        page.until_text("#answer .result", "Stored.")  # by itself
        stored = httpx2.get(f"{address}/predictions/{prediction_id(page)}").json()
        assert stored["label"]["option"]["label"] == "B"


def test_a_question_can_be_copied_as_a_command_and_as_a_program(serve: Serve, page: Page, tmp_path: Path) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.type_question('What\'s "liquid"?', *OPTIONS)
        page.type_over("#question-model", "toy@1")
        page.one("#question-threshold").send_keys("0.25")
        page.one("#question-curl").click()
        command = page.until_text("#question-snippet pre", "curl")
        answer = json.loads(subprocess.run(["sh", "-c", command], capture_output=True, check=True).stdout)
        assert (answer["model"], answer["threshold"]) == ("toy@1", 0.25)
        page.one("#question-python").click()
        program = tmp_path / "ask.py"
        program.write_text(page.until_text("#question-snippet pre", "from uq4ct.client"))
        printed = subprocess.run([sys.executable, program], capture_output=True, check=True, text=True).stdout
        assert printed.split() == [answer["option"]["text"], str(answer["confidence"])]


def test_a_copied_question_names_the_key_and_does_not_contain_it(serve: Serve, page: Page, keys: KeyHolder) -> None:
    with serve(api_keys_file=keys.file) as address:
        page.open(address)
        page.until(lambda: page.one("#key-dialog").is_displayed())
        page.one("#key-text").send_keys(keys.key("k"), Keys.RETURN)
        page.until_loaded()
        for button, part in (("curl", 'Bearer $UQ4CT_KEY"'), ("python", 'os.environ["UQ4CT_KEY"]')):
            page.one(f"#question-{button}").click()
            assert keys.key("k") not in page.until_text("#question-snippet pre", part)


@pytest.mark.parametrize(
    ("text", "options", "field", "message"),
    [
        ("", ("a", "b"), "question-text", "is empty"),
        ("Which?", ("a", ""), "option-1", "is empty"),
        ("Which?", ("a", "b", "a"), "option-2", "is the same as option 0"),
    ],
)
def test_a_problem_marks_the_field(
    serve: Serve, page: Page, text: str, options: tuple[str, ...], field: str, message: str
) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(text, *options)
        assert message in page.text("#answer .problem")
        assert "A field is missing, unknown or invalid" in page.text("#answer .problem")
        control = page.one("[aria-invalid]")
        assert control.get_attribute("id") == field
        assert page.driver.switch_to.active_element == control
        assert message in page.text(f"#{control.get_attribute('aria-describedby')}")
        control.send_keys("something else")
        page.one("#question-send").click()
        page.until(lambda: page.all("#answer .chosen"))
        assert page.all("[aria-invalid], .problem") == []


def test_numbers_out_of_range_and_no_numbers_are_told_apart(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.one("#question-threshold").send_keys("1.5")
        page.ask(TEXT, *OPTIONS)
        assert page.one("[aria-invalid]").get_attribute("id") == "question-threshold"
        assert "less than or equal to 1" in page.text("#answer .problem")
        page.one("#question-threshold").send_keys("e")  # not a number; the browser reports it as empty
        page.one("#question-send").click()
        page.until_text("#answer .problem", "must be a number")


def test_a_question_that_is_too_long_and_a_service_that_is_gone(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask("word " * TOKEN_LIMIT, *OPTIONS)
        assert str(TOKEN_LIMIT) in page.until_text("#answer", "longer than the model's window")
    page.one("#question-send").click()
    page.until_text("#answer .problem", "The service cannot be reached")


def test_texts_stay_texts(serve: Serve, page: Page) -> None:
    options = (
        "<img src=x onerror=document.title='hacked'>",
        "</li><script>document.title='hacked'</script>",
        "&lt;b&gt;",
    )
    with serve() as address:
        page.open_loaded(address)
        page.ask("<b>bold?</b>", *options)
        shown = page.text("#answer .bars")
        assert all(option in shown for option in options)
        assert page.all("#answer img, #answer script, #answer li b") == []
        with pytest.raises(Exception, match="TrustedHTML"):
            page.run("document.querySelector('#answer').innerHTML = '<b>x</b>'")
        assert page.driver.title == "uq4ct: answers and their calibration"


def test_options_are_added_and_removed_within_their_bounds(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        for _ in range(22):
            page.one("#option-add").click()
        assert not page.one("#option-add").is_enabled()
        assert page.text("#options li:last-child label").endswith("Z")
        page.one("#option-1").send_keys("stays")
        page.all("#options button")[0].click()
        assert page.one("#option-0").get_attribute("value") == "stays"
        assert page.driver.switch_to.active_element == page.one("#option-0")
        while (remove := page.all("#options button")[-1]).is_enabled():
            remove.click()
        assert len(page.all("#options li")) == 2


def test_a_question_is_asked_and_answered_by_keyboard_alone(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.press(Keys.TAB)
        assert page.driver.switch_to.active_element.text == "Skip to the status"
        page.press(Keys.RETURN)
        page.tab_to("question-text")
        page.press(TEXT)
        for index in (0, 1):
            page.tab_to(f"option-{index}")
            page.press(OPTIONS[index])
        for _ in range(2):  # the two empty rows
            page.tab_to("Remove option C")
            page.press(Keys.RETURN)
        assert [row.get_attribute("value") for row in page.all("#options input")] == list(OPTIONS[:2])
        page.tab_to("question-send")
        page.press(Keys.SPACE)
        page.until(lambda: page.all("#answer .chosen"))
        page.tab_to(f"B {OPTIONS[1]}")
        page.press(Keys.RETURN)
        page.tab_to("Store now")  # the button before it, Undo, has the focus
        page.press(Keys.RETURN)
        page.until_text("#answer .result", "Stored.")


def test_whatever_has_the_focus_shows_it(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.ask(TEXT, *OPTIONS)
        seen = set()
        for _ in range(90):  # once around the page
            page.press(Keys.TAB)
            tag, style, width = page.run(
                "const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]"
            )
            assert tag == "BODY" or (style, width) == ("solid", 3), tag
            seen.add(tag)
    assert {"A", "BUTTON", "INPUT", "TEXTAREA", "SELECT"} <= seen
