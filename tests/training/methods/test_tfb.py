"""Training-free Bayesianization: the rotation keeps B A, the noise is even, the search finds the boundary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor

from tests.training.conftest import MakeConfig
from tests.training.methods.asking import nll
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.posteriors.weight_gaussian import std_name
from uq4ct.model_store.predictor import Predictor
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods.tfb import SMALLEST_SINGULAR, largest_borne, rotate, unit_stds, update_size
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.train import train_run

PLACE = "model.layers.0.self_attn.q_proj.experts"


def adapter(singular: list[float], inputs: int = 7, outputs: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Return the stored tensors of one bank with these singular values of B."""
    source = torch.Generator().manual_seed(seed)
    rank = len(singular)
    u = torch.linalg.qr(torch.randn(outputs, rank, generator=source, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(rank, rank, generator=source, dtype=torch.float64)).Q
    return {
        f"{PLACE}.A": torch.randn(rank, inputs, generator=source),
        f"{PLACE}.B": ((u * torch.tensor(singular)) @ v).float(),
        "scoring.log_scale": torch.tensor(0.5),
    }


def product(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return B A in float64."""
    return tensors[f"{PLACE}.B"].double() @ tensors[f"{PLACE}.A"].double()


singular_values = st.lists(st.floats(0, 1e3), min_size=1, max_size=6)


class TestRotation:
    @given(singular_values, st.integers(0, 2**32 - 1))
    def test_leaves_the_product_as_it_is(self, singular: list[float], seed: int) -> None:
        """Up to the rounding of fp32, for B of any rank; nothing else changes."""
        tensors = adapter(singular, seed=seed)
        rotated, found = rotate(tensors)
        before, after = product(tensors), product(rotated)
        size = (1 + max(singular)) * tensors[f"{PLACE}.A"].norm().item()
        torch.testing.assert_close(after, before, atol=1e-6 * size, rtol=0)
        torch.testing.assert_close(
            found[PLACE], torch.tensor(sorted(singular, reverse=True)), rtol=1e-4, atol=1e-5 * (1 + max(singular))
        )
        assert rotated["scoring.log_scale"] is tensors["scoring.log_scale"]

    def test_noise_of_unit_size_is_even_in_every_direction_of_the_update(self) -> None:
        """B' diag(std) is U: its singular values are 1, so sigma_q is the size of the noise in each of them."""
        rotated, singular = rotate(adapter([3.0, 0.5, 0.02]))
        spread = rotated[f"{PLACE}.B"] * unit_stds(singular)[std_name(PLACE)].T
        torch.testing.assert_close(torch.linalg.svdvals(spread), torch.ones(3), atol=1e-5, rtol=0)

    @given(singular_values)
    @example([0.0, 1.175494351e-38])
    def test_noise_is_bounded_where_a_direction_carries_nothing(self, singular: list[float]) -> None:
        (std,) = unit_stds({PLACE: torch.tensor(singular)}).values()
        assert std.shape == (len(singular), 1)
        assert std.isfinite().all()
        largest = torch.tensor(singular).max()
        assert (std * largest <= 1.001 / SMALLEST_SINGULAR).all()
        assert (std[:, 0] * torch.tensor(singular) <= 1.001).all()  # never above sigma_q in the update

    def test_an_adapter_that_adds_nothing_gets_no_noise(self) -> None:
        rotated, singular = rotate(adapter([0.0, 0.0]))
        assert not unit_stds(singular)[std_name(PLACE)].any()
        assert update_size(rotated, singular) == 0
        assert largest_borne(lambda sigma: 1.0, 0.0, 10, 0.003) == 0

    def test_the_search_starts_at_noise_as_large_as_the_update(self) -> None:
        """The mean squared norm of draws of B' (sigma * std * epsilon) is that of B A."""
        tensors = adapter([3.0, 0.5, 0.02])
        rotated, singular = rotate(tensors)
        sigma = update_size(rotated, singular)
        std = sigma * unit_stds(singular)[std_name(PLACE)]
        torch.manual_seed(0)
        noise = rotated[f"{PLACE}.B"] @ (std * torch.randn(20_000, 3, 7))
        norm = product(tensors).square().sum()
        assert noise.square().sum(dim=(1, 2)).mean().item() == pytest.approx(norm.item(), rel=0.03)


class TestSearch:
    def test_by_hand(self) -> None:
        """NLL 2 up to 5, 3 above: halves once, doubles to 8, then halves; returns the largest tolerated value."""
        tried: list[float] = []

        def step(sigma: float) -> float:
            tried.append(sigma)
            return 2.0 if sigma <= 5 else 3.0

        assert largest_borne(step, 1.0, 8, 0.003) == 5.0
        assert tried == [0, 1, 0.5, 2, 4, 8, 6, 5, 5.5]

    def test_the_number_of_anchor_questions_does_not_enter(self) -> None:
        """A rise of 0.4 % exceeds a tolerance of 0.3 %, a rise of 0.2 % does not."""
        assert largest_borne(lambda sigma: 1 + 0.004 * (sigma > 0), 1.0, 6, 0.003) == 0
        assert largest_borne(lambda sigma: 1 + 0.002 * (sigma > 0), 1.0, 6, 0.003) == 2.0**4

    @given(st.floats(1e-3, 1e3), st.floats(1e-4, 1), st.floats(0.1, 5))
    def test_a_rising_nll(self, start: float, tolerance: float, base: float) -> None:
        """For base * (1 + sigma^2), the boundary is the square root of the tolerance."""
        found = largest_borne(lambda sigma: base * (1 + sigma**2), start, 60, tolerance)
        assert found == pytest.approx(math.sqrt(tolerance), rel=1e-5)

    def test_an_nll_that_falls_first(self) -> None:
        """1 + (sigma - 2)^2 is 5 at 0 and again at 4; the result is near the minimum at 2, not near 4."""
        found = largest_borne(lambda sigma: 1 + (sigma - 2) ** 2, 0.5, 40, 0.01)
        assert found == pytest.approx(2.1, abs=1e-6)

    def test_a_lowest_nll_below_the_start_is_found(self) -> None:
        """1 + (sigma - 0.1)^2 is 1.01 at 0 and at the start, 0.2: tolerated beside 0, but not beside 0.1."""
        tried: list[float] = []

        def dip(sigma: float) -> float:
            tried.append(sigma)
            return 1 + (sigma - 0.1) ** 2

        assert largest_borne(dip, 0.2, 40, 0.0025) == pytest.approx(0.15, abs=1e-6)
        assert tried[:4] == [0, 0.2, 0.1, 0.05]

    @given(st.floats(1e-2, 1e2))
    def test_the_start_hardly_matters(self, start: float) -> None:
        """1 + (sigma - 0.1)^2 / 4 below 1; within 0.1 % of its minimum up to 0.1632, if the minimum is tried."""
        found = largest_borne(lambda sigma: 1 + (sigma - 0.1) ** 2 / 4, start, 60, 0.001)
        assert found == pytest.approx(0.1 + math.sqrt(0.004), rel=0.15)

    def test_what_is_no_number_is_refused(self) -> None:
        assert largest_borne(lambda sigma: 1.0 if sigma <= 3 else math.nan, 1.0, 6, 0.003) == 3.0


def test_a_run_answers_within_the_tolerance_and_tells_of_its_search(tmp_path: Path, make_config: MakeConfig) -> None:
    console = Console(record=True, width=200)
    config = make_config("tfb", options={"samples": 4, "steps": 6})
    train_run(config, tmp_path / "run", console, shared=tmp_path / "shared")
    run = load_run(tmp_path / "run")
    fit = list(load_splits(config.data)[0].fit)
    noisy = nll(Predictor(run.model, run.result.posterior.build(run.tensors)), fit)
    rotated = nll(Predictor(run.model, PointPosterior()), fit)
    (folder,) = (tmp_path / "shared").iterdir()
    plain = nll(Predictor(load_run(folder).model, PointPosterior()), fit)
    assert rotated == pytest.approx(plain, abs=1e-6)
    assert noisy <= plain * 1.003 + 1e-6
    assert console.export_text().count(f"on {len(fit)} questions of the fit split") == 7
