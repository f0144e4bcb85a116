"""The trained distributions: their divergence, noise and gradients, and runs that resume bit-identically."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from tests.training.conftest import MakeConfig
from tests.training.whole_runs import check_resumed
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import TokenwiseCall
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.training.data.batches import TrainingQuestion, forwards
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods import METHODS
from uq4ct.training.methods.base import VARIATION_PREFIX, Finished, Forward, LossTerms, Variation
from uq4ct.training.methods.blob import BlobOptions, WeightNoise
from uq4ct.training.methods.lora import LORA
from uq4ct.training.methods.sparse_lora import RankGates, SparseLoraOptions
from uq4ct.training.methods.variational import bank_weights, evidence_losses, part_variation
from uq4ct.training.run_config import ConfigError
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.loop import KEPT_FILE
from uq4ct.training.runs.new_model import make_model
from uq4ct.training.runs.train import train_run

PLACE = "model.layers.0.self_attn.q_proj.experts"
probabilities = st.floats(0.01, 0.99)


def bank_of(in_features: int = 5, rank: int = 3, out_features: int = 4) -> ExpertBank:
    """Return a bank in float64 with a nonzero B and scale 1."""
    torch.manual_seed(0)
    bank = ExpertBank(in_features, out_features, AdapterConfig(experts=1, top_k=1, rank=rank, alpha=rank, dropout=0))
    torch.nn.init.normal_(bank.B)
    return bank.double()


def gates_of(rank: int, logits: Tensor | None = None, **options: float) -> RankGates:
    variation = RankGates({PLACE: rank}, SparseLoraOptions.model_validate(options)).double()
    if logits is not None:
        variation.at(PLACE).data.copy_(logits)
    return variation


def run_through(variation: Variation, bank: ExpertBank, inputs: Tensor) -> Tensor:
    """Return what the bank adds, [B, T, out]."""
    return variation(PLACE, bank, inputs, torch.zeros(*inputs.shape[:-1], len(bank.B), dtype=inputs.dtype), None)


class TestRankGates:
    @given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 64))
    def test_the_divergence_is_0_at_the_start(self, p0: float, rank: int) -> None:
        """Exactly 0, in the fp32 of training."""
        assert RankGates({PLACE: rank, "other": 2}, SparseLoraOptions(p0=p0)).kl().item() == 0

    @given(st.lists(probabilities, min_size=1, max_size=8), probabilities)
    def test_the_divergence_is_that_of_bernoullis(self, kept: list[float], p0: float) -> None:
        q = torch.tensor(kept, dtype=torch.float64)
        exact = kl_divergence(Bernoulli(probs=q), Bernoulli(probs=torch.tensor(p0, dtype=torch.float64))).sum()
        assert gates_of(len(kept), q.logit(), p0=p0).kl().item() == pytest.approx(exact.item(), abs=1e-12)

    def test_the_divergence_is_the_mean_of_the_log_ratio(self) -> None:
        """The mean over hard masks drawn from q, within 4 standard errors."""
        torch.manual_seed(1)
        q, p = Bernoulli(probs=torch.tensor([0.1, 0.5, 0.9]).double()), Bernoulli(probs=torch.tensor(0.7).double())
        masks = q.sample((200_000,))
        ratios = (q.log_prob(masks) - p.log_prob(masks)).sum(dim=-1)
        error = ratios.std().item() / len(ratios) ** 0.5
        found = gates_of(3, q.logits, p0=0.7).kl().item()
        assert found == pytest.approx(ratios.mean().item(), abs=4 * error)

    def test_gradients_at_fixed_noise_are_the_slopes(self) -> None:
        """Gradients of the output through relaxed gates and of the divergence equal central differences; none is 0."""
        bank, inputs = bank_of(), torch.randn(2, 4, 5, dtype=torch.float64)
        variation = gates_of(3, torch.tensor([-1.0, 0.3, 2.0]), p0=0.6)

        def loss() -> Tensor:
            torch.manual_seed(3)
            return run_through(variation, bank, inputs).square().sum() + variation.kl()

        logits = variation.at(PLACE)
        (gradient,) = torch.autograd.grad(loss(), logits)
        for index in range(3):
            ends = []
            for step in (1e-5, -1e-5):
                logits.data[index] += step
                ends.append(loss().item())
                logits.data[index] -= step
            assert gradient[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
            assert abs(gradient[index].item()) > 1e-3

    @pytest.mark.parametrize("tau", [1e-4, 0.5, 2.0])
    def test_gates_are_relaxed_bernoullis(self, tau: float) -> None:
        """A gate is above 1/2 as often as it is kept, for every tau; for small tau it is 0 or 1."""
        logits = torch.tensor([-2.0, 0.0, 1.0], dtype=torch.float64)
        bank = bank_of(rank=3, in_features=3, out_features=3)
        bank.A.data, bank.B.data = torch.eye(3).double(), torch.eye(3).double()
        torch.manual_seed(0)
        gates = run_through(gates_of(3, logits, tau=tau), bank, torch.ones(40_000, 1, 3, dtype=torch.float64))[:, 0]
        torch.testing.assert_close((gates > 0.5).double().mean(dim=0), logits.sigmoid(), atol=0.01, rtol=0)
        between = ((gates > 1e-3) & (gates < 1 - 1e-3)).double().mean().item()
        assert between < 0.002 if tau == 1e-4 else between > 0.5

    def test_a_gate_is_held_for_a_sequence(self) -> None:
        variation, token = gates_of(3), torch.randn(5, dtype=torch.float64)
        output = run_through(variation, bank_of(), token.expand(2, 4, 5))
        assert torch.equal(output[:, 0], output[:, 3])
        assert not torch.allclose(output[0], output[1])

    def test_evaluation_runs_the_mean(self) -> None:
        bank, inputs = bank_of(), torch.randn(2, 4, 5, dtype=torch.float64)
        variation = gates_of(3, torch.tensor([-1.0, 0.3, 2.0])).eval()
        mean = inputs @ (variation.at(PLACE).sigmoid()[:, None] * bank.A).T @ bank.B.T
        torch.testing.assert_close(run_through(variation, bank, inputs), mean)


class TestWeightNoise:
    def noise_of(self, bank: ExpertBank, **options: float) -> WeightNoise:
        return WeightNoise({PLACE: bank.A}, BlobOptions.model_validate(options)).double()

    def test_deviations_start_between_half_and_all_of_epsilon_squared(self) -> None:
        std = self.noise_of(bank_of(in_features=400)).at(PLACE).square()
        assert 0.05**2 / 2 <= std.min() < 0.55 * 0.05**2
        assert 0.95 * 0.05**2 < std.max() <= 0.05**2

    @given(st.floats(0.01, 3), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
    def test_the_divergence_is_that_of_gaussians(self, prior_std: float, initial_root: float, seed: int) -> None:
        torch.manual_seed(seed)
        bank = bank_of()
        variation = self.noise_of(bank, prior_std=prior_std, initial_root=initial_root)
        prior = Normal(torch.zeros(()).double(), torch.tensor(prior_std, dtype=torch.float64))
        exact = kl_divergence(Normal(bank.A, variation.at(PLACE).square()), prior).sum()
        assert variation.kl().item() == pytest.approx(exact.item(), rel=1e-9, abs=1e-9)

    def test_the_divergence_reaches_the_means_and_is_no_parameter_twice(self) -> None:
        bank = bank_of()
        variation = self.noise_of(bank, prior_std=0.5)
        variation.kl().backward()
        assert bank.A.grad is not None
        torch.testing.assert_close(bank.A.grad, bank.A.detach() / 0.25)
        assert list(variation.tensors()) == [f"{VARIATION_PREFIX}{PLACE}.root_std"]
        assert len(list(variation.parameters())) == 1

    def test_flipout_has_the_variance_of_weights_drawn_for_each_row_and_no_covariance(self) -> None:
        """The variance of x (std * epsilon)^T is the sum of x^2 std^2 over inputs, per rank; rows are uncorrelated."""
        bank = bank_of(rank=3, out_features=3)
        bank.B.data = torch.eye(3).double()
        variation = self.noise_of(bank, initial_root=1.0)
        inputs = torch.tensor([0.5, -1.0, 2.0, 0.1, -0.7], dtype=torch.float64).expand(2, 1, 5)
        torch.manual_seed(0)
        with torch.no_grad():
            draws = torch.stack([run_through(variation, bank, inputs)[:, 0] for _ in range(3000)])
            noise = draws - inputs[:, 0] @ bank.A.T  # [forwards, rows, r]
            exact = inputs[0].square() @ variation.at(PLACE).square().square().T
        torch.testing.assert_close(noise.square().mean(dim=0), exact.expand(2, 3), rtol=0.1, atol=0)
        assert (noise.mean(dim=0).abs() < 4 * (exact / 3000).sqrt()).all()
        assert ((noise[:, 0] * noise[:, 1]).mean(dim=0).abs() < 0.1 * exact).all()

    def test_noise_is_held_for_a_sequence(self) -> None:
        """Each row has one matrix, so twice the input gives twice the output."""
        token = torch.randn(5, dtype=torch.float64)
        bank = bank_of()
        output = run_through(self.noise_of(bank), bank, torch.stack([token, 2 * token]).expand(3, 2, 5))
        torch.testing.assert_close(output[:, 1], 2 * output[:, 0])
        assert not torch.allclose(output[0], output[1])

    def test_evaluation_runs_the_mean(self) -> None:
        bank, inputs = bank_of(), torch.randn(2, 4, 5, dtype=torch.float64)
        torch.testing.assert_close(run_through(self.noise_of(bank).eval(), bank, inputs), inputs @ bank.A.T @ bank.B.T)

    def test_no_samples_are_the_means_alone(self, tmp_path: Path, make_config: MakeConfig, quiet: Console) -> None:
        config = make_config("blob", options={"samples": 0}, training={"epochs": 1})
        assert train_run(config, tmp_path / "run", quiet).posterior == PointConfig()
        run = load_run(tmp_path / "run")
        assert set(run.tensors) == set(run.model.adapter_tensors())


VARIATIONAL = ["blob", "sparse_lora"]


@pytest.fixture(scope="module")
def whole_runs(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig, quiet: Console) -> Mapping[str, Path]:
    """The folders of finished runs of each method, without interruption."""
    root = tmp_path_factory.mktemp("whole")
    for method in VARIATIONAL:
        train_run(make_config(method), root / method, quiet)
    return {method: root / method for method in VARIATIONAL}


@pytest.mark.parametrize("method", VARIATIONAL)
class TestRuns:
    @pytest.mark.parametrize("step", [2, 5, 9])
    def test_a_resumed_run_is_bit_identical(
        self,
        method: str,
        step: int,
        whole_runs: Mapping[str, Path],
        tmp_path: Path,
        make_config: MakeConfig,
        quiet: Console,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        check_resumed(make_config(method), step, whole_runs[method], tmp_path / "run", quiet, monkeypatch)

    def test_the_variation_is_trained_and_only_its_outcome_is_stored(
        self, method: str, whole_runs: Mapping[str, Path]
    ) -> None:
        run = load_run(whole_runs[method])
        kept = load_file(whole_runs[method] / KEPT_FILE)
        varied = {name: value for name, value in kept.items() if name.startswith(VARIATION_PREFIX)}
        assert len(varied) == len(bank_weights(run.model))
        assert not any(name.startswith(VARIATION_PREFIX) for name in run.tensors)
        assert len(run.tensors) == len(kept)
        assert all(value.unique().numel() > 1 for value in varied.values())

    def test_the_forwards_of_a_step_count_the_divergence_once(self, method: str, make_config: MakeConfig) -> None:
        """The share per question is KL / N, and without noise accumulation does not change gradients."""
        config = make_config(method)
        model = make_model(config, load_base_model(config.base.name, device="cpu", dtype="float32")).eval()
        trained: Any = METHODS[method]
        variation = trained.variation(model, config.method_options()).eval()
        torch.manual_seed(0)
        for parameter in (*model.adapter_tensors().values(), *variation.parameters()):
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
        train = load_splits(config.data)[0].train[:8]
        items = [TrainingQuestion(model.scorer.encode(question), question.answer or 0) for question in train]

        def step(accumulation: int) -> tuple[float, list[Tensor]]:
            divergence = 0.0
            for batch in forwards(items, accumulation):
                output = model(batch.tokens, variation)
                forward = Forward(output, batch, config.adapter, config.loss, 1, 40, model, variation)
                terms: LossTerms = trained.losses(forward)
                terms.total.backward()
                divergence += terms.parts["kl"].item()
            parameters = [*model.adapter_tensors().values(), *variation.parameters()]
            found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
            for parameter in parameters:
                parameter.grad = None
            return divergence, found

        (whole, whole_gradients), (parts, part_gradients) = step(1), step(4)
        assert whole == pytest.approx(variation.kl().item() / 40, rel=1e-6)
        assert parts == pytest.approx(whole, rel=1e-6)
        for one, other in zip(whole_gradients, part_gradients, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)

    @pytest.mark.parametrize(
        ("sections", "named"),
        [
            ({"adapter": {"experts": 4, "top_k": 2}}, "experts is 4"),
            ({"loss": {"l2": 0.1}}, r"loss\.l2 is 0\.1"),
            ({"loss": {"indicator": "held_out"}}, "indicator is 'held_out'"),
            ({"options": {"samples": -1}}, r"options\.samples"),
        ],
    )
    def test_what_it_cannot_train_is_named(
        self, method: str, sections: dict[str, Any], named: str, make_config: MakeConfig
    ) -> None:
        with pytest.raises(ConfigError, match=named):
            make_config(method, **sections)


class _Steep(TokenwiseCall, Variation):
    """No noise, the same tokens as plain LoRA, and a divergence with a gradient far above all others."""

    def forward(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        return bank(inputs, base_output, gates)

    def kl(self) -> Tensor:
        return torch.stack([1e9 * parameter.sum() for parameter in self.parameters()]).sum()


def test_a_steep_divergence_does_not_change_the_adapters_steps(
    tmp_path: Path, make_config: MakeConfig, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group of parameters is clipped separately, so the weights are bit-identical to those of plain LoRA."""
    config = make_config("lora", training={"epochs": 1}, optimizer={"clip_norm": 0.1})
    train_run(config, tmp_path / "plain", quiet)
    steep = replace(
        LORA,
        losses=evidence_losses,
        variation=lambda model, options: _Steep("x", {place: torch.zeros(2) for place in bank_weights(model)}),
        finish=lambda tensors, options, seed: Finished(PointConfig(), part_variation(tensors, "x")[0]),
    )
    monkeypatch.setitem(METHODS, "lora", steep)
    train_run(config, tmp_path / "steep", quiet)
    plain, other = load_run(tmp_path / "plain").tensors, load_run(tmp_path / "steep").tensors
    assert plain.keys() == other.keys()
    assert all(torch.equal(plain[name], other[name]) for name in plain)
