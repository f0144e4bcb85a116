"""The memory of a process with many adapters on the embedded base model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ADAPTERS = 20
WARM_UPS = 5  # loads before the first measurement: what one load leaves in the allocator is there then

PUBLISH = f"""
import sys
from pathlib import Path
from tests.manifests import make_draft
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry

base, shape = load_base_model(EMBEDDED, device="cpu", dtype="float32"), AdapterConfig(experts=8, rank=4)
model = add_adapter(base, shape, ClozeConfig())
draft = make_draft("many", base=base.identity, adapter=shape, scoring=ClozeConfig())
for _ in range({WARM_UPS} + {ADAPTERS}):
    Registry(Path(sys.argv[1])).publish(draft, model.adapter_tensors(), {{}}, promote=False)
"""

MEASURE = f"""
import gc, psutil, sys
from pathlib import Path
from uq4ct.model_store.published import AdapterHost, load_base_of
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry

registry = Registry(Path(sys.argv[1]))
host, loaded = AdapterHost(load_base_of(registry.manifest("many@1"), device="cpu", dtype="float32")), []

def load(count):
    for _ in range(count):
        loaded.append(host.add(registry.load(f"many@{{len(loaded) + 1}}")))
        loaded[-1].ask(Question("q", "Which of these is a colour?", ("Green", "Seven")))
    gc.collect()
    return psutil.Process().memory_info().rss

before = load({WARM_UPS})
print((load({ADAPTERS}) - before) / {ADAPTERS} / loaded[-1].memory_bytes)
"""


def run(script: str, store: Path) -> str:
    """Run a script in its own process and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(store)], check=False, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_adapter_takes_the_memory_that_is_counted(tmp_path: Path) -> None:
    run(PUBLISH, tmp_path / "store")
    assert float(run(MEASURE, tmp_path / "store")) == pytest.approx(1.0, abs=0.05)
