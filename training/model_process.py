"""Prepare the process of a command that runs a model, and the model for the CPUs that the process can use."""

from __future__ import annotations

import os

import torch
from transformers.utils import logging

from uq4ct.model_store.base.models import BaseModel
from uq4ct.model_store.cpus import OtherPrograms, usable_cpus
from uq4ct.model_store.threads import ThreadChoice, most_threads


def prepare_process() -> None:
    """Quiet transformers, whose progress bars and warnings would break up the output, and limit threads and memory.

    torch starts a thread for each CPU of the affinity; above a cgroup's CPU quota, threads wait for each other. oneDNN
    keeps up to 1,024 compiled kernels, one for each shape of a product. Nearly every forward has shapes of its own, so
    in bfloat16 the memory of a run grew by tens of megabytes a forward; those of one forward are enough.
    """
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(most_threads())
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # read at the first product


def leave_cpus(base: BaseModel) -> BaseModel:
    """Let each forward use as many threads as other programs leave CPUs, unless OMP_NUM_THREADS fixes their number.

    The number of threads may change the last bits of what a model returns.
    """
    if base.model.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        choice = ThreadChoice(most_threads(), usable_cpus(), OtherPrograms().busy_cpus, torch.set_num_threads)
        base.model.get_decoder().register_forward_pre_hook(lambda *_: choice.adapt())
    return base
