"""Loading a base model takes little more memory than its weights."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Prints the weights' bytes, and the most private memory while they were loaded beyond that before. Pages of the mapped
# file do not count: the system can drop them.
_LOAD = """
import json, re, sys, threading
from uq4ct.model_store.base.models import load_base_model

def private():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

def watch():
    while not loaded.wait(0.002):
        seen.append(private())

seen, loaded = [private()], threading.Event()
thread = threading.Thread(target=watch)
thread.start()
base = load_base_model(sys.argv[1], dtype=sys.argv[2], device="cpu")
loaded.set()
thread.join()
weights = sum(parameter.nbytes for parameter in base.model.parameters())
print(json.dumps([weights, max(seen) - seen[0]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_takes_at_most_a_fifth_more_than_the_weights(dtype: str) -> None:
    command = [sys.executable, "-c", _LOAD, "smollm2-135m", dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    weights, most = json.loads(done.stdout.splitlines()[-1])
    assert weights > 2e8
    assert 0 < most <= 1.2 * weights
