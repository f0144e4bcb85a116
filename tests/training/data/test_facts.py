"""The quiz, checked against tables that are read independently: right answers, splits, positions, shortcuts."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from uq4ct.model_store.questions import Question
from uq4ct.training.data import facts
from uq4ct.training.data.facts.relation import Relation, RelationError
from uq4ct.training.data.facts.tables import FactsTableError, parse_table, read_table
from uq4ct.training.data.facts.templates import RELATIONS

TABLES = Path(facts.__file__).parent


@pytest.fixture(scope="module")
def quiz() -> facts.FactsQuiz:
    return facts.build(seed=0)


def all_questions(quiz: facts.FactsQuiz) -> tuple[Question, ...]:
    return (*quiz.train, *quiz.calibration, *quiz.test, *quiz.shift)


@cache
def read_rows(table: str) -> list[dict[str, list[str]]]:
    """Read a table with the csv module, independently of the reader under test."""
    with (TABLES / f"{table}.tsv").open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [{key: cell.split("|") if cell else [] for key, cell in row.items()} for row in reader]


@cache
def patterns_of(subject: str) -> list[tuple[Relation, re.Pattern[str]]]:
    patterns = []
    for relation in RELATIONS:
        for phrasing in relation.phrasings if relation.subject == subject else ():
            pattern = re.escape(phrasing)
            for hole in ("{}", "{a}", "{A}"):
                article = "" if hole == "{}" else "[Aa]n? "
                pattern = pattern.replace(re.escape(hole), f"{article}(?P<value>.+)")
            patterns.append((relation, re.compile(pattern)))
    return patterns


def asked_facts(question: Question) -> Iterator[tuple[Relation, str]]:
    """Yield each relation and value with a phrasing that gives the text of the question."""
    for relation, pattern in patterns_of(question.subject or ""):
        match = pattern.fullmatch(question.text)
        if match:
            yield relation, match["value"]


def entities_of(question: Question) -> set[str]:
    return {
        next(iter(row.values()))[0]
        for relation, value in asked_facts(question)
        for row in read_rows(relation.table)
        if value in row[relation.asked]
    }


def test_there_are_enough_distinct_questions_of_enough_subjects(quiz: facts.FactsQuiz) -> None:
    questions = all_questions(quiz)
    assert len({question.text for question in questions}) == len(questions) >= 2500
    assert len({question.id for question in questions}) == len(questions)
    per_subject = Counter(question.subject for question in questions)
    assert len(per_subject) >= 10
    assert min(per_subject.values()) >= 100


@pytest.mark.slow
def test_the_same_seed_gives_the_same_quiz_and_another_seed_another(quiz: facts.FactsQuiz) -> None:
    assert facts.build(seed=0) == quiz
    other = facts.build(seed=1)
    assert {question.text for question in all_questions(other)} != set()
    assert {question.id for question in other.train} != {question.id for question in quiz.train}


def test_a_known_question_stays_what_it_is(quiz: facts.FactsQuiz) -> None:
    # Checks the draw itself: another Python version or platform must give the same quiz.
    question = next(question for question in all_questions(quiz) if question.id == "facts-chemistry-gold-0")
    assert question.text in ("What is the chemical symbol of gold?", "Which chemical symbol stands for gold?")
    assert question.options[question.answer or 0] == "Au"


def test_every_question_has_exactly_one_right_option(quiz: facts.FactsQuiz) -> None:
    tables = {relation.table: read_rows(relation.table) for relation in RELATIONS}
    for question in all_questions(quiz):
        judged = False
        for relation, value in asked_facts(question):
            rows = [row for row in tables[relation.table] if value in row[relation.asked]]
            true = {answer for row in rows for answer in row[relation.answered]}
            if not true.intersection(question.options):
                continue  # another relation with the same phrasing asked this
            doubtful = {text for row in rows for text in row.get("avoid", [])}
            right = [index for index, option in enumerate(question.options) if option in true]
            assert right == [question.answer], question
            assert not doubtful.intersection(set(question.options) - true), question
            # In the opposite direction, no wrong option may lead to the asked value either.
            for option in set(question.options) - true:
                for row in tables[relation.table]:
                    if option in row[relation.answered]:
                        assert value not in row[relation.asked], question
            judged = True
        assert judged, question


def test_wrong_options_are_of_the_same_kind(quiz: facts.FactsQuiz) -> None:
    for question in quiz.test:
        kinds = [
            {answer for row in read_table(relation.table) for answer in row.cells[relation.answered]}
            for relation, _ in asked_facts(question)
        ]
        assert any(set(question.options) <= kind for kind in kinds), question


def test_no_entity_stands_in_two_splits(quiz: facts.FactsQuiz) -> None:
    names: dict[str, str] = {}
    for split in ("train", "calibration", "test"):
        for question in getattr(quiz, split):
            for entity in entities_of(question):
                assert names.setdefault(entity.casefold(), split) == split, (entity, question)


def test_the_shift_subjects_stand_in_no_other_split(quiz: facts.FactsQuiz) -> None:
    assert {question.subject for question in quiz.shift} == set(facts.SHIFT_SUBJECTS)
    seen = {question.subject for question in (*quiz.train, *quiz.calibration, *quiz.test)}
    assert not seen & set(facts.SHIFT_SUBJECTS)
    assert len(facts.SHIFT_SUBJECTS) == 2


def test_the_splits_have_their_shares(quiz: facts.FactsQuiz) -> None:
    total = len(quiz.train) + len(quiz.calibration) + len(quiz.test)
    assert len(quiz.train) / total == pytest.approx(0.55, abs=0.05)
    assert len(quiz.calibration) / total == pytest.approx(0.20, abs=0.05)
    assert len(quiz.test) / total == pytest.approx(0.25, abs=0.05)


def test_the_right_option_stands_everywhere_alike_often(quiz: facts.FactsQuiz) -> None:
    # 99.9 % points of the chi-square distribution with 2, 3 and 4 degrees of freedom
    for count, limit in ((3, 13.82), (4, 16.27), (5, 18.47)):
        places = Counter(question.answer for question in all_questions(quiz) if len(question.options) == count)
        expected = sum(places.values()) / count
        assert sum((places[index] - expected) ** 2 / expected for index in range(count)) < limit


def test_the_number_of_options_varies_from_three_to_five(quiz: facts.FactsQuiz) -> None:
    counts = Counter(len(question.options) for question in all_questions(quiz))
    total = sum(counts.values())
    assert set(counts) == {3, 4, 5}
    assert counts[4] / total == pytest.approx(0.7, abs=0.03)


def test_the_longest_option_is_no_shortcut(quiz: facts.FactsQuiz) -> None:
    for questions in (quiz.train, quiz.test, quiz.shift):
        chance = sum(1 / len(question.options) for question in questions) / len(questions)
        assert sum(map(longest_option_score, questions)) / len(questions) < chance + 0.03


def longest_option_score(question: Question) -> float:
    """Return the chance of being right by picking one of the longest options."""
    longest = max(map(len, question.options))
    picked = [index for index, option in enumerate(question.options) if len(option) == longest]
    return (question.answer in picked) / len(picked)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("capital of France", "Paris"),
        ("the capital of Australia", "Canberra"),
        ("symbol of iron|symbol stands for iron", "Fe"),
        ("atomic number of oxygen", "8"),
        ("moon Titan", "Saturn"),
        ("currency of Poland", "zloty"),
        ("official language of Brazil", "Portuguese"),
        ("author of 'Hamlet'|wrote 'Hamlet'", "William Shakespeare"),
        ("composed 'The Four Seasons'", "Antonio Vivaldi"),
        ("painted 'Guernica'", "Pablo Picasso"),
        ("year was the fall of the Berlin Wall", "1989"),
        ("US state of Texas\\?", "Austin|TX"),
        ("scientific name of the lion", "Panthera leo"),
        ("1984 written in Roman", "MCMLXXXIV"),
        ("abbreviation CPU", "central processing unit"),
        ("French for 'dog'", "chien"),
        ("river|River Thames", "Europe"),
        ("kind of animal is a frog", "amphibian"),
        ("opposite of 'hot'", "cold"),
        ("Who repairs shoes", "cobbler"),
        ("discovered penicillin", "Alexander Fleming"),
        ("In which state is pure mercury", "liquid"),
    ],
)
def test_known_facts_are_asked_and_answered_rightly(quiz: facts.FactsQuiz, text: str, right: str) -> None:
    found = [question for question in all_questions(quiz) if re.search(text, question.text)]
    answers = {question.options[question.answer or 0] for question in found}
    assert answers & set(right.split("|"))


def test_every_atomic_number_stands_once() -> None:
    numbers = [row["number"] for row in read_rows("elements")]
    assert numbers == [[str(number)] for number in range(1, 119)]


def test_roman_numerals_are_those_of_an_independent_reading() -> None:
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    for row in read_rows("numerals"):
        digits = [values[char] for char in row["roman"][0]]
        signed = [-a if a < b else a for a, b in zip(digits, [*digits[1:], 0], strict=True)]
        assert sum(signed) == int(row["number"][0])


def test_every_table_is_asked_about_and_every_cell_is_well_formed() -> None:
    assert {path.stem for path in TABLES.glob("*.tsv")} == {relation.table for relation in RELATIONS}
    for relation in RELATIONS:
        assert read_table(relation.table)


def test_distractors_prefer_rows_that_are_alike(quiz: facts.FactsQuiz) -> None:
    regions = {row["capital"][0]: row["region"][0] for row in read_rows("countries") if row["capital"]}
    size = Counter(regions.values())
    for question in all_questions(quiz):
        if question.text.startswith("What is the capital of ") and "US state" not in question.text:
            region = regions[question.options[question.answer or 0]]
            alike = sum(regions[option] == region for option in question.options)
            assert alike == min(len(question.options), size[region])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tplace\nA\tB\tC", "made.tsv, line 2: 3 cells for 2 columns"),
        ("name\tplace\nA\tB\n\tB", "made.tsv, line 3: the first cell must name one entity"),
        ("name\tplace\nA\tB |C", "made.tsv, line 2: 'B |C' contains an empty, unevenly spaced or repeated value"),
        ("name\tname\nA\tB", "made.tsv, line 1"),
        ("name\tplace", "made.tsv, line 1"),
    ],
)
def test_a_broken_table_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(FactsTableError, match=re.escape(message)):
        parse_table("made", text)


def test_a_missing_table_is_named() -> None:
    with pytest.raises(FactsTableError, match=r"nowhere\.tsv"):
        read_table("nowhere")


def test_shared_values_and_doubtful_ones_are_never_offered() -> None:
    rows = parse_table("made", "name\tcolour\tavoid\nA\tred|blue\tpink\nB\tred\t\nC\tpink\t\nD\tgreen\tred\nE\tgrey\t")
    relation = Relation("made", "made", "name", "colour", ("{}?",))
    asked = dict(relation.facts(rows))
    right, wrong = relation.options("A", asked["A"], rows, 0)
    assert right in ("red", "blue")
    assert sorted(wrong) == ["green", "grey"]  # red is right too, pink is doubtful
    reverse = Relation("made", "made", "colour", "name", ("{}?",))
    assert set(dict(reverse.facts(rows))) == {"blue", "pink", "green", "grey"}  # red belongs to two entities
    assert all(len(found) == 1 for _, found in reverse.facts(rows))


def test_a_relation_without_enough_wrong_options_is_an_error() -> None:
    rows = parse_table("made", "name\tcolour\nA\tred\nB\tblue")
    relation = Relation("made", "made", "name", "colour", ("{}?",))
    with pytest.raises(RelationError, match=r"made\.tsv: colour of 'A' has only 1 wrong options"):
        relation.options("A", dict(relation.facts(rows))["A"], rows, 0)
