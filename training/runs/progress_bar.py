"""Live progress of a training run."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from uq4ct.training.console import say

WINDOW_STEPS = 20  # the bar shows means over the latest steps
LINE_EVERY_STEPS = 20  # without a terminal, lines replace the bar
LEAST_BAR, MOST_BAR = 8, 40  # columns of the bar itself; the scores take what it can spare


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step: its losses in nats, the share of right answers, the mean FEU, real tokens and seconds."""

    step: int
    epoch: int
    learning_rate: float
    losses: dict[str, float]
    accuracy: float
    mean_feu: float | None
    tokens: int
    seconds: float


class _Line(ProgressColumn):
    """The bar, the steps and the remaining time, then the first scores, as many as fit in full."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._remaining = TimeRemainingColumn()

    def render(self, task: Task) -> Table:
        """Return one row that is no wider than the terminal is now."""
        total = str(int(task.total or 0))
        steps, remaining = f"{int(task.completed):{len(total)}d}/{total}", self._remaining.render(task)
        room = self._console.width - 1 - LEAST_BAR - len(f" {steps} {remaining.plain}")  # in the last column some wrap
        shown, used = _first_that_fit(task.fields["scores"], room)
        bar = ProgressBar(task.total, task.completed, width=min(MOST_BAR, LEAST_BAR + room - used))
        row = Table.grid(padding=(0, 1))
        row.add_row(bar, steps, remaining, *shown)
        return row


class TrainingBar:
    """A progress bar on a terminal, occasional lines elsewhere: loss, accuracy, mean FEU, tokens per second."""

    def __init__(self, steps: int, done: int, console: Console) -> None:
        self._console = console
        self._steps = steps
        self._recent: deque[StepReport] = deque(maxlen=WINDOW_STEPS)
        self._bar = Progress(_Line(console), console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("training", total=steps, completed=done, scores=())

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, report: StepReport) -> None:
        """Show a finished step."""
        self._recent.append(report)
        loss, *parts = self._losses()
        others = self._other_scores()
        self._bar.update(self._task, completed=report.step, scores=(loss, *others, *parts))
        if not self._console.is_terminal and (report.step % LINE_EVERY_STEPS == 0 or report.step == self._steps):
            say(self._console, " ".join((f"step {report.step}/{self._steps}", loss, *parts, *others)))

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        say(self._console, text)

    def _losses(self) -> list[str]:
        """Return the loss, then its parts."""
        count = len(self._recent)
        return [f"{name} {sum(r.losses[name] for r in self._recent) / count:.3f}" for name in self._recent[-1].losses]

    def _other_scores(self) -> list[str]:
        scores = [f"accuracy {sum(r.accuracy for r in self._recent) / len(self._recent):.3f}"]
        feu = [report.mean_feu for report in self._recent if report.mean_feu is not None]
        if feu:
            scores.append(f"FEU {sum(feu) / len(feu):.3f}")
        seconds = sum(report.seconds for report in self._recent)
        scores.append(f"{sum(report.tokens for report in self._recent) / seconds:.0f} tokens/s")
        return scores


def _first_that_fit(scores: Sequence[str], room: int) -> tuple[list[str], int]:
    """Return the first scores that fit into `room` columns with a blank before each, and the columns that they take."""
    shown: list[str] = []
    used = 0
    for score in scores:
        if used + 1 + len(score) > room:
            break
        shown.append(score)
        used += 1 + len(score)
    return shown, used
