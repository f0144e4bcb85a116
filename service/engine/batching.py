"""Which of the waiting questions go into the next forward: a pure function of their lengths."""

from __future__ import annotations

from collections.abc import Sequence


def select_batch(lengths: Sequence[int], budget: int) -> list[int]:
    """Choose the indices of the next batch, shortest first; a row costs as many tokens as the longest row.

    The oldest question is always among them, so nothing waits for ever. Around it the batch is a run of
    neighbours in length with as many rows as `rows * longest <= budget` allows, and of those the one with the
    shortest longest row. No set of questions that holds the oldest and fits the budget has more rows: leaving
    out the longest row of a run that misses the oldest never costs a row.

    Args:
        lengths: tokens of each waiting question, at least 1, in the order of arrival; not empty.
        budget: tokens of one forward, padding included.

    Raises:
        ValueError: the oldest question alone is over the budget.
    """
    if lengths[0] > budget:
        raise ValueError(f"a question of {lengths[0]} tokens does not fit a batch of {budget} tokens")
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    oldest = by_length.index(0)
    best = range(oldest, oldest + 1)
    for last in range(oldest, len(by_length)):
        rows = min(last + 1, budget // lengths[by_length[last]])
        if last - rows >= oldest:
            break  # from here on rows only get longer and fewer, so no run reaches back to the oldest
        if rows > len(best):
            best = range(last - rows + 1, last + 1)
    return [by_length[position] for position in best]
