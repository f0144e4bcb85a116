"""From a configuration to the splits of a run."""

from __future__ import annotations

from uq4ct.training.data.config import DataConfig
from uq4ct.training.data.source import DataError
from uq4ct.training.data.sources import load_source
from uq4ct.training.data.splits import Questions, Splits, divide_calibration, remove_leaks, select
from uq4ct.training.data.stable_hash import digest_of


def load_splits(config: DataConfig) -> tuple[Splits, tuple[str, ...]]:
    """Return the splits of a run, and messages about the questions that were removed.

    Leaks are removed before the limits are applied, so train never contains a question of the full test split.

    Raises:
        DataError: the data cannot be read, a question has no answer, an id occurs twice, or a split is empty.
        QuestionFileError: a file cannot be read, or a line of it is not a question.
    """
    source = load_source(config)
    fit, guarantee = divide_calibration(source.calibration)
    splits, removed = remove_leaks(source.train, fit, guarantee, source.test, source.shift)
    limited = _limit(splits, config)
    for name, questions in limited.named():
        if not questions:
            raise DataError(f"the split {name} is empty: give it more questions, or raise its limit or share")
    return limited, (*source.messages, *removed)


def _limit(splits: Splits, config: DataConfig) -> Splits:
    total = config.calibration_limit
    return Splits(
        train=_draw(splits.train, config.train_limit),
        fit=_draw(splits.fit, None if total is None else (total + 1) // 2),
        guarantee=_draw(splits.guarantee, None if total is None else total // 2),
        test=_draw(splits.test, config.test_limit),
        shift={name: _draw(questions, config.test_limit) for name, questions in splits.shift.items()},
    )


def _draw(questions: Questions, limit: int | None) -> Questions:
    """Return the `limit` questions with the lowest id hashes, in their original order."""
    if limit is None or limit >= len(questions):
        return questions
    drawn = set(sorted((question.id for question in questions), key=lambda name: digest_of("limit", name))[:limit])
    return select(questions, [index for index, question in enumerate(questions) if question.id in drawn])
