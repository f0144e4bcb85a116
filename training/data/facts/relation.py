"""One kind of question, and the facts that give it exactly one right option."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uq4ct.training.data.facts.tables import Row
from uq4ct.training.data.stable_hash import digest_of, fraction_of, generator_of

OPTION_COUNTS = ((3, 0.15), (4, 0.70), (5, 0.15))  # number of options, share of the questions


class RelationError(ValueError):
    """A relation with too few wrong options in its table."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of question: `asked` is the column named in the text, `answered` the column the options come from.

    A phrasing contains the asked value as `{}` or, with an indefinite article, `{a}` (`{A}` at the start of the
    sentence). Wrong options come first from the rows that agree in the column `alike`, because these are plausible.
    """

    subject: str
    table: str
    asked: str
    answered: str
    phrasings: tuple[str, ...]
    alike: str | None = None

    def facts(self, rows: tuple[Row, ...]) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Yield each value that can be asked about, with all rows that contain it.

        A value shared by several entities is left out: the question would belong to the splits of all of them. Values
        that differ only in case are left out too, such as the prefix symbols m and M.
        """
        standing: dict[str, dict[str, list[Row]]] = {}
        for row in rows:
            for value in row.cells[self.asked]:
                standing.setdefault(value.casefold(), {}).setdefault(value, []).append(row)
        for spellings in standing.values():
            (value, found), *others = spellings.items()
            if others or len({row.entity for row in found}) > 1:
                continue
            if any(row.cells[self.answered] for row in found):
                yield value, tuple(found)

    def phrase(self, value: str, *draw: object) -> str:
        """Return the text of the question about `value`, in the phrasing drawn by `draw`."""
        phrasing = self.phrasings[int(fraction_of("phrasing", *draw, value) * len(self.phrasings))]
        noun = _with_article(value)
        return phrasing.replace("{a}", noun).replace("{A}", noun.capitalize()).replace("{}", value)

    def options(
        self, value: str, found: tuple[Row, ...], rows: tuple[Row, ...], *draw: object
    ) -> tuple[str, list[str]]:
        """Return the right option and the wrong ones for the question about `value`, drawn by `draw`.

        Raises:
            RelationError: the table has fewer than two wrong options.
        """
        right = {answer for row in found for answer in row.cells[self.answered]}
        chosen = min(right, key=lambda answer: digest_of("right", *draw, value, answer))
        excluded = right | {text for row in found for text in row.avoid}
        wrong: list[str] = []
        wanted = _option_count(value, *draw) - 1
        for row in self._wrong_rows(value, found, rows, draw):
            if len(wrong) == wanted:
                break
            answers = row.cells[self.answered]
            # Drawn by row, not by value: a frequent right answer is then equally frequent among the wrong options.
            answer = min(answers, key=lambda answer: digest_of("wrong", *draw, value, answer))
            if answer not in excluded and answer not in wrong:
                wrong.append(answer)
        if len(wrong) < 2:
            raise RelationError(f"{self.table}.tsv: {self.answered} of {value!r} has only {len(wrong)} wrong options")
        return chosen, wrong

    def _wrong_rows(
        self, value: str, found: tuple[Row, ...], rows: tuple[Row, ...], draw: tuple[object, ...]
    ) -> list[Row]:
        """Return the rows known not to contain `value`: rows like the asked one first, both groups in drawn order."""
        alike = {text for row in found for text in row.cells[self.alike]} if self.alike else set()
        known = [
            row
            for row in rows
            if row.cells[self.asked] and row.cells[self.answered]
            if value not in row.cells[self.asked] and value not in row.avoid
        ]
        generator = generator_of("rows", *draw, value)
        ranks = [(not (self.alike and alike.intersection(row.cells[self.alike])), generator.random()) for row in known]
        return [row for _, row in sorted(zip(ranks, known, strict=True), key=lambda ranked: ranked[0])]


def _option_count(value: str, *draw: object) -> int:
    drawn = fraction_of("count", *draw, value)
    for count, share in OPTION_COUNTS[:-1]:
        if drawn < share:
            return count
        drawn -= share
    return OPTION_COUNTS[-1][0]


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
