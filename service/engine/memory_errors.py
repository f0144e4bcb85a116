"""Recognise that a forward ran out of memory, from the errors of PyTorch, oneDNN and CUDA."""

from __future__ import annotations

import re

import torch

# On the CPU, PyTorch raises plain RuntimeErrors. oneDNN does not say why it failed, but memory is what it needs most.
# A pattern matches only fixed words and numbers, so that what it matches can be logged: it quotes no question.
_MESSAGES = re.compile(
    r"""
    DefaultCPUAllocator:[ ](can't[ ]allocate|not[ ]enough)[ ]memory(:[ ]you[ ]tried[ ]to[ ]allocate[ ]\d+[ ]bytes)?
    | could[ ]not[ ]create[ ]a[ ](primitive[ ]descriptor|primitive|memory[ ]object|memory)\b
    | could[ ]not[ ]execute[ ]a[ ]primitive\b
    | std::bad_alloc
    | (CUDA|HIP)[ ]out[ ]of[ ]memory(\.[ ]Tried[ ]to[ ]allocate[ ][\d.]+[ ][KMGT]?i?B)?
    | (CUDA|HIP)[ ]error:[ ]out[ ]of[ ]memory
    | (CUBLAS|CUDNN|CUSPARSE|CUSOLVER)_STATUS_ALLOC_FAILED
    """,
    re.VERBOSE,
)


def out_of_memory_reason(error: BaseException) -> str | None:
    """Return the recognised part of a message about memory, which holds no text of a question; None: another error."""
    if not isinstance(error, (MemoryError, RuntimeError)):
        return None
    match = _MESSAGES.search(str(error))
    if match is not None:
        return match[0]
    return "out of memory" if isinstance(error, (MemoryError, torch.OutOfMemoryError)) else None
