"""A run's resume point: weights, optimizer, random state and the loop's state in one file, replaced atomically."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import AdamW

from uq4ct.model_store.frozen import Frozen, complaints
from uq4ct.model_store.regular_files import open_regular, reason_of
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.runs.records import RunError

RESUME_FILE = "resume_point.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class LoopState(Frozen):
    """The progress of a run's loop; `fit_nll` has one entry per finished epoch."""

    epoch: int = Field(default=0, ge=0, description="the current epoch, counted from 0")
    epoch_step: int = Field(default=0, ge=0, description="steps done in that epoch")
    step: int = Field(default=0, ge=0, description="steps done in total")
    fit_nll: tuple[float, ...] = ()
    seconds: float = Field(default=0.0, ge=0, description="seconds in training steps")
    tokens: int = Field(default=0, ge=0, description="real tokens trained on")

    @property
    def best_epoch(self) -> int:
        """The finished epoch with the lowest NLL, counted from 0."""
        return min(range(len(self.fit_nll)), key=self.fit_nll.__getitem__)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write safetensors to `path` atomically and force them to disk."""
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_file(path, save(packed, dict(metadata or {})))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read safetensors.

    Raises:
        RunError: the file is missing or damaged.
    """
    with _reading(path):
        return load_file(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with open_regular(path):  # safetensors would wait for a pipe
            yield
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason_of(error)}") from error
    except ValidationError as error:
        raise RunError(f"{path} cannot be read: {'; '.join(complaints(error))}") from error
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:  # a tensor or the state is missing or unfit
        raise RunError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def save_resume_point(folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: AdamW, state: LoopState) -> None:
    """Write the resume point of a run."""
    tensors: dict[str, Tensor] = {f"parameter/{name}": parameter for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        own = optimizer.state[parameter]
        tensors |= {f"optimizer/{moment}/{name}": own[moment] for moment in _MOMENTS}
    tensors["random/cpu"] = torch.get_rng_state()
    device = _device_of(parameters)
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    save_tensors(folder / RESUME_FILE, tensors, {"state": state.model_dump_json()})


def read_state(folder: Path) -> LoopState:
    """Return the progress of a run at its resume point.

    Raises:
        RunError: the resume point is missing or damaged.
    """
    path = folder / RESUME_FILE
    with _reading(path), safe_open(path, framework="pt") as file:
        return LoopState.model_validate_json(file.metadata()["state"])


def load_resume_point(folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: AdamW) -> LoopState:
    """Restore the state of a run from its resume point.

    Raises:
        RunError: the resume point is damaged.
    """
    path = folder / RESUME_FILE
    with _reading(path), safe_open(path, framework="pt") as file:
        for name, parameter in parameters.items():
            with torch.no_grad():
                parameter.copy_(file.get_tensor(f"parameter/{name}"))
            moments = {moment: file.get_tensor(f"optimizer/{moment}/{name}") for moment in _MOMENTS}
            optimizer.state[parameter] = {
                moment: value if moment == "step" else value.to(parameter.device) for moment, value in moments.items()
            }
        torch.set_rng_state(file.get_tensor("random/cpu"))
        device = _device_of(parameters)
        if device.type == "cuda":
            torch.cuda.set_rng_state(file.get_tensor("random/cuda"), device)
        return LoopState.model_validate_json(file.metadata()["state"])


def _device_of(parameters: Mapping[str, nn.Parameter]) -> torch.device:
    """Return the device of the run, where its noise is also drawn."""
    return next(iter(parameters.values())).device
