"""Attacks on the wire: the service rejects them, stays responsive and needs little memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import PublishedTiny
from tests.service.attacks.hostile import ATTACKS
from tests.service.attacks.suite import PARSERS, run_suite


@pytest.mark.slow
@pytest.mark.timed
def test_the_service_stands_every_attack(published_tiny: PublishedTiny, tmp_path: Path) -> None:
    outcomes = list(run_suite(published_tiny.registry.root, published_tiny.manifest.name, tmp_path, seconds=3.0))
    attacks = [outcome for outcome in outcomes if outcome.attack != "quiet"]
    assert len(attacks) == len(PARSERS) * len(ATTACKS)
    assert [outcome for outcome in attacks if outcome.unexpected] == []
    assert [outcome for outcome in attacks if outcome.live_p99 > 200] == []
    assert [outcome for outcome in attacks if outcome.memory_above_quiet > 300] == []
