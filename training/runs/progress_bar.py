"""Live progress of a training run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uq4ct.training.console import say

WINDOW_STEPS = 20  # the bar shows means over the latest steps
LINE_EVERY_STEPS = 20  # without a terminal, lines replace the bar


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


class TrainingBar:
    """A progress bar on a terminal, occasional lines elsewhere: loss, accuracy, mean FEU, tokens per second."""

    def __init__(self, steps: int, done: int, console: Console) -> None:
        self._console = console
        self._steps = steps
        self._recent: deque[StepReport] = deque(maxlen=WINDOW_STEPS)
        self._bar = Progress(
            TextColumn("[bold]training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=steps, completed=done, state="")

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
        state = self._state()
        self._bar.update(self._task, completed=report.step, state=state)
        if not self._console.is_terminal and (report.step % LINE_EVERY_STEPS == 0 or report.step == self._steps):
            say(self._console, f"step {report.step}/{self._steps} {state}")

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        say(self._console, text)

    def _state(self) -> str:
        count = len(self._recent)
        parts = [f"{name} {sum(r.losses[name] for r in self._recent) / count:.3f}" for name in self._recent[-1].losses]
        parts.append(f"accuracy {sum(r.accuracy for r in self._recent) / count:.3f}")
        feu = [report.mean_feu for report in self._recent if report.mean_feu is not None]
        if feu:
            parts.append(f"FEU {sum(feu) / len(feu):.3f}")
        seconds = sum(report.seconds for report in self._recent)
        parts.append(f"{sum(report.tokens for report in self._recent) / seconds:.0f} tokens/s")
        return " ".join(parts)
