"""Free memory between blocks that are in use goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from uq4ct.model_store.heap import return_free_memory

_BLOCK = 100_000  # bytes; larger blocks are mapped one by one, and unmapped when freed
_BLOCKS = 3000


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps free memory")
def test_the_process_holds_less_afterwards() -> None:
    c_library = ctypes.CDLL(None)
    c_library.malloc.restype = ctypes.c_void_p
    blocks = [c_library.malloc(ctypes.c_size_t(_BLOCK)) for _ in range(_BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, _BLOCK)
    for index, block in enumerate(blocks):
        if index % 100:  # the others keep the heap from shrinking by itself
            c_library.free(ctypes.c_void_p(block))
    before = psutil.Process().memory_info().rss
    return_free_memory()
    given_back = before - psutil.Process().memory_info().rss
    for block in blocks[::100]:
        c_library.free(ctypes.c_void_p(block))
    assert given_back > 0.8 * _BLOCK * _BLOCKS
