"""The training loop: optimizer steps over epochs, resumable at any step with bit-identical results."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import torch
from rich.console import Console
from torch import Tensor
from torch.optim import AdamW

from uq4ct.model_store.adapted_model import AdaptedModel, CandidateOutput
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.full_disk import naming_full_disk
from uq4ct.model_store.heap import return_free_memory
from uq4ct.training.console import say
from uq4ct.training.data.batches import TrainingBatch, TrainingQuestion, count_steps, epoch_steps, forwards
from uq4ct.training.data.training_set import TrainingSet
from uq4ct.training.methods.base import Forward, TrainedMethod, Variation
from uq4ct.training.run_config import ConfigError, OptimizerConfig, RunConfig
from uq4ct.training.runs.progress_bar import StepReport, TrainingBar
from uq4ct.training.runs.resume_point import (
    RESUME_FILE,
    LoopState,
    load_resume_point,
    save_resume_point,
    save_tensors,
)

KEPT_FILE = "kept.safetensors"
LOG_FILE = "steps.jsonl"


_RIGHT, _FEU = "right answers", "sum of FEU"


@dataclass(frozen=True, slots=True)
class Measured:
    """Sums over one forward's questions, on its device: `values` [n] by their `names`."""

    names: tuple[str, ...]
    values: Tensor


def snapshot_path(folder: Path, index: int) -> Path:
    """Return the file of a snapshot's weights, counted from 1."""
    return folder / f"snapshot-{index}.safetensors"


class DivergedError(UserError, RuntimeError):
    """The loss is no longer finite."""


def learning_rate_share(config: OptimizerConfig, step: int, steps: int) -> float:
    """Return the share of the peak learning rate at a step counted from 0, of `steps` in total."""
    warmup = math.ceil(config.warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return {"none": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[config.decay]


class Trainer:
    """One run: an adapted model, its questions, and a folder for its log, resume point and weights.

    `variation` is the method's noise on `model`, if any. `fit_nll` scores the model after each epoch: the NLL on the
    fit split in nats per question.
    """

    def __init__(
        self,
        config: RunConfig,
        method: TrainedMethod,
        model: AdaptedModel,
        variation: Variation | None,
        questions: TrainingSet,
        fit_nll: Callable[[], float],
        folder: Path,
    ) -> None:
        self._config = config
        self._method = method
        self._model = model
        self._variation = variation
        self._questions = questions
        self._fit_nll = fit_nll
        self._folder = folder
        adapter = model.adapter_tensors()
        varied = {} if variation is None else variation.tensors()
        self.parameters = adapter | varied
        optimizer = config.optimizer
        groups = [{"params": list(adapter.values()), "peak": optimizer.learning_rate}]
        if variation is not None:
            peak = variation.learning_rate or optimizer.learning_rate
            groups.append({"params": list(varied.values()), "peak": peak, "weight_decay": 0.0})
        self._optimizer = AdamW(
            groups, lr=optimizer.learning_rate, betas=optimizer.betas, weight_decay=optimizer.weight_decay
        )
        self.steps = config.training.epochs * count_steps(questions.held_out, config.training.batch_questions)
        if config.training.snapshots > self.steps:
            raise ConfigError(f"training.snapshots is {config.training.snapshots}: the run has only {self.steps} steps")

    def run(self, console: Console) -> LoopState:
        """Train to the end, starting from the resume point in the folder if there is one.

        Afterwards the folder's `kept.safetensors` contains the weights of the epoch that the configuration keeps.

        Raises:
            DivergedError: the loss is not finite.
        """
        state = LoopState()
        if (self._folder / RESUME_FILE).is_file():
            state = load_resume_point(self._folder, self.parameters, self._optimizer)
            say(console, f"resumed at step {state.step} of {self.steps}")
        with (
            naming_full_disk(self._folder / LOG_FILE),
            TrainingBar(self.steps, state.step, console) as bar,
            self._log(state) as log,
        ):
            while state.epoch < self._config.training.epochs:
                state = self._run_epoch(state, bar, log)
        return state

    def _run_epoch(self, state: LoopState, bar: TrainingBar, log: TextIO) -> LoopState:
        self.set_training(True)
        for step in self._steps_of(state.epoch)[state.epoch_step :]:
            report = self._run_step([self._questions[index] for index in step], state)
            bar.step(report)
            log.write(json.dumps(asdict(report)) + "\n")
            log.flush()
            state = state.model_copy(
                update={
                    "epoch_step": state.epoch_step + 1,
                    "step": report.step,
                    "seconds": state.seconds + report.seconds,
                    "tokens": state.tokens + report.tokens,
                }
            )
            self._keep_snapshot(report.step)
            if report.step % self._config.training.resume_point_steps == 0:
                self.save(state)
        return self._finish_epoch(state, bar)

    def _finish_epoch(self, state: LoopState, bar: TrainingBar) -> LoopState:
        self.set_training(False)
        return_free_memory()
        nll = self._fit_nll()
        state = state.model_copy(update={"epoch": state.epoch + 1, "epoch_step": 0, "fit_nll": (*state.fit_nll, nll)})
        if self._config.training.keep_epoch == "last" or state.best_epoch == state.epoch - 1:
            save_tensors(self._folder / KEPT_FILE, self.parameters)
        self.save(state)
        bar.print_line(f"epoch {state.epoch}: NLL on the fit split {nll:.4f}")
        return state

    def _run_step(self, questions: Sequence[TrainingQuestion], state: LoopState) -> StepReport:
        start = time.perf_counter()
        step = state.step + 1
        measured = self.take_step(questions, step)
        rows = torch.stack([one.values for one in measured]).tolist()  # the only time that the host waits
        losses: Counter[str] = Counter()
        for one, row in zip(measured, rows, strict=True):
            losses.update(dict(zip(one.names, row, strict=True)))
        right, feu = losses.pop(_RIGHT), losses.pop(_FEU, None)
        if not math.isfinite(losses["loss"]):
            raise DivergedError(f"the loss of step {step} is {losses['loss']}; a lower learning rate may help")
        return StepReport(
            step,
            state.epoch,
            self._learning_rate(step),
            dict(losses),
            right / len(questions),
            None if feu is None else feu / len(questions),
            sum(question.encoded.length for question in questions),
            time.perf_counter() - start,
        )

    def take_step(self, questions: Sequence[TrainingQuestion], step: int) -> list[Measured]:
        """Update the weights once; the device gets its work without the host waiting for any of it."""
        share = learning_rate_share(self._config.optimizer, step - 1, self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        training = self._config.training
        parts = forwards(questions, training.accumulation, training.forward_tokens)
        measured = [self._add_gradients(part, step) for part in parts]
        self._clip_gradients()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return measured

    def save(self, state: LoopState) -> None:
        """Write the resume point, in memory first: what the steps before have left free is given back for it."""
        return_free_memory()
        save_resume_point(self._folder, self.parameters, self._optimizer, state)

    def _add_gradients(self, batch: TrainingBatch, step: int) -> Measured:
        placed = batch.to(self._model.device)
        output = self._model(placed.tokens, self._variation)
        terms = self._method.losses(self._forward(output, placed, step))
        terms.total.backward()
        values = {"loss": terms.total} | terms.parts | {_RIGHT: (output.logits.argmax(dim=-1) == placed.answers).sum()}
        if output.feu is not None:
            values[_FEU] = output.feu.sum()
        return Measured(tuple(values), torch.stack([value.detach().double() for value in values.values()]))

    def _learning_rate(self, step: int) -> float:
        optimizer = self._config.optimizer
        return optimizer.learning_rate * learning_rate_share(optimizer, step - 1, self.steps)

    def _clip_gradients(self) -> None:
        """Limit the norm of each parameter group separately, or the divergence of a variation dominates the norm."""
        limit = self._config.optimizer.clip_norm
        if limit is not None:
            for group in self._optimizer.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], limit)

    def _forward(self, output: CandidateOutput, batch: TrainingBatch, step: int) -> Forward:
        config = self._config
        return Forward(
            output, batch, config.adapter, config.loss, step, len(self._questions), self._model, self._variation
        )

    def set_training(self, training: bool) -> None:
        """Set the model and its noise to training mode, or to evaluation mode."""
        self._model.train(training)
        if self._variation is not None:
            self._variation.train(training)

    def _keep_snapshot(self, step: int) -> None:
        count = self._config.training.snapshots
        for index in range(1, count + 1):
            if step == math.ceil(index * self.steps / count):
                save_tensors(snapshot_path(self._folder, index), self.parameters)

    def _steps_of(self, epoch: int) -> list[list[int]]:
        training, questions = self._config.training, self._questions
        return epoch_steps(questions.lengths, questions.held_out, training.batch_questions, training.seed, epoch)

    def _log(self, state: LoopState) -> TextIO:
        """Open the step log, truncated to the resume point: later steps are repeated."""
        path = self._folder / LOG_FILE
        kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[: state.step] if path.is_file() else []
        path.write_text("".join(kept), encoding="utf-8")
        return path.open("a", encoding="utf-8")
