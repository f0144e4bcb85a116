"""The curvature of Laplace-LoRA, compared with the dense generalised Gauss-Newton matrix of a tiny model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.model_store.posteriors.kronecker_factors import dense_curvature
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors
from uq4ct.model_store.posteriors.laplace import LaplaceConfig, linearise
from uq4ct.model_store.posteriors.taps import BankTaps, weight_jacobians
from uq4ct.model_store.predictor import Predictor, score_in_batches
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import EncodedQuestion, collate
from uq4ct.model_store.uncertainty.decomposition import mean_probabilities
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood
from uq4ct.training.data.answers import right_options
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods.kronecker_fitting import SecondMoment, fit_curvature
from uq4ct.training.methods.laplace import PRECISIONS, LaplaceOptions, end_of_search, precision_by_evidence
from uq4ct.training.run_config import ConfigError
from uq4ct.training.runs.encoded_splits import encode_train
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.train import train_run

CPU = torch.device("cpu")
WHOLE = 10_000  # a factor rank above every width
POSITIONAL = ("o_proj", "gate_proj", "up_proj", "down_proj")  # in the last layer no token reads another after these


def training_questions(model: Any, questions: Sequence[Question]) -> list[TrainingQuestion]:
    return [TrainingQuestion(model.scorer.encode(question), index % 2) for index, question in enumerate(questions)]


def jacobian_of(model: Any, encoded: EncodedQuestion) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the probabilities [C] of one question, and the Jacobian of its logits by each weight, [C, out * in]."""
    through = BankTaps()
    logits = model(collate([encoded]), through).logits
    jacobians = weight_jacobians(logits, through.taps)
    return logits[0].detach().softmax(dim=0), {name: one[0].flatten(1) for name, one in jacobians.items()}


def gauss_newton(model: Any, questions: Sequence[TrainingQuestion]) -> Tensor:
    """Return the sum of J' (diag p - p p') J over the questions, with all weights of all banks in one matrix."""
    total = torch.zeros(())
    for question in questions:
        p, jacobians = jacobian_of(model, question.encoded)
        flat = torch.cat(list(jacobians.values()), dim=1)
        total = total + flat.T @ (p.diag() - p.outer(p)) @ flat
    return total


def blocks_of(matrix: Tensor, model: Any, encoded: EncodedQuestion) -> dict[str, Tensor]:
    """Return the diagonal block of each weight."""
    _, jacobians = jacobian_of(model, encoded)
    sizes = [one.shape[1] for one in jacobians.values()]
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return {
        name: matrix[end - size : end, end - size : end] for name, size, end in zip(jacobians, sizes, ends, strict=True)
    }


def double_norm(norm: LlamaRMSNorm) -> torch.nn.RMSNorm:
    """Return the same norm in float64; the one of transformers always computes in fp32."""
    double = torch.nn.RMSNorm(norm.weight.shape[0], norm.variance_epsilon, dtype=torch.float64)
    double.weight = norm.weight
    return double


@pytest.fixture
def make_double(tmp_path: Path, make_base_folder: Any, make_model: Any) -> Any:
    """Make a tiny model with the given number of layers, entirely in float64."""

    def make(scoring: Any, layers: int, **config: Any) -> Any:
        folder = make_base_folder(tmp_path / "base", num_hidden_layers=layers)
        base = load_base_model(str(folder), device="cpu", dtype="float32")
        base.model.double()
        for parent in list(base.model.modules()):
            for name, norm in parent.named_children():
                if isinstance(norm, LlamaRMSNorm):
                    setattr(parent, name, double_norm(norm))
        return make_model(base, scoring, experts=1, top_k=1, **config).double()

    return make


@pytest.mark.parametrize("rank", [4, WHOLE])
def test_one_example_and_one_position_are_exact(rank: int, make_double: Any, questions: Any) -> None:
    """Each weight's block of the Gauss-Newton matrix is then one Kronecker product, of rank 1 times at most C - 1.

    The blocks and the predictive covariance of other questions agree to 1e-8 in float64.
    """
    model = make_double(LetterConfig(), 1, targets=POSITIONAL)
    one, *others = training_questions(model, questions)
    assert one.encoded.options == 3
    factors = fit_curvature(model, [one], rank, 1000, 0)
    blocks = blocks_of(gauss_newton(model, [one]), model, one.encoded)
    assert set(factors) == set(blocks)
    assert len(factors) == 2 * len(POSITIONAL)
    for name, block in blocks.items():
        torch.testing.assert_close(
            dense_curvature(factors[name]), block, rtol=1e-8, atol=1e-8 * block.abs().max().item()
        )
    for other in others:
        _, jacobians = jacobian_of(model, other.encoded)
        expected = sum(
            flat @ torch.linalg.solve(0.3 * torch.eye(flat.shape[1]).double() + blocks[name], flat.T)
            for name, flat in jacobians.items()
        )
        found = linearise(model, collate([other.encoded]), factors, [0.3]).covariances[0, 0]
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def answer_columns(encoded: EncodedQuestion, *, cloze: bool) -> list[int]:
    """By hand: the last token, or the token before each token of an option, in its branch or at the shared end."""
    shared = encoded.branches.count(0)
    if not cloze:
        return [shared - 1]
    later = range(shared, encoded.length)
    inside = [column - 1 for column in later if encoded.branches[column] == encoded.branches[column - 1]]
    return sorted({shared - 1, *inside})


@pytest.mark.parametrize("scoring", [LetterConfig(), ClozeConfig()], ids=lambda scoring: scoring.kind)
def test_full_rank_is_the_whole_kronecker_product(scoring: Any, make_double: Any, questions: Any) -> None:
    """Reference: sums over single questions, positions found by hand, gradients of each log-probability by autograd."""
    model = make_double(scoring, 2, targets=("v_proj", "down_proj"))
    asked = training_questions(model, questions)
    inputs: dict[str, Any] = {}
    gradients: dict[str, Any] = {}
    positions = 0
    for question in asked:
        through = BankTaps()
        log_p = model(collate([question.encoded]), through).logits[0].log_softmax(dim=0)
        columns = answer_columns(question.encoded, cloze=scoring.kind == "cloze")
        positions += len(columns)
        for name, tap in through.taps.items():
            rows = tap.inputs[0, columns]
            inputs[name] = inputs.get(name, 0) + rows.T @ rows
            for value in log_p:
                (gradient,) = torch.autograd.grad(value, tap.outputs, retain_graph=True)
                rows = gradient[0, columns]
                gradients[name] = gradients.get(name, 0) + value.exp().detach() * rows.T @ rows
    for batch_tokens in (1, 10_000):
        factors = fit_curvature(model, asked, WHOLE, batch_tokens, 0)
        assert set(factors) == set(inputs)
        for name, found in factors.items():
            expected = torch.kron(gradients[name], inputs[name] / positions)
            size = expected.abs().max().item()
            torch.testing.assert_close(dense_curvature(found), expected, rtol=1e-8, atol=1e-8 * size)


@settings(deadline=None, max_examples=40)
@given(dimension=st.integers(1, 30), rank=st.integers(1, 6), true_rank=st.integers(0, 6), seed=st.integers(0, 1000))
def test_a_sketch_is_exact_within_its_rank(dimension: int, rank: int, true_rank: int, seed: int) -> None:
    """Rows of at most the kept rank give their exact second moment, for narrow and full sketches and for no rows."""
    source = torch.Generator().manual_seed(seed)
    true_rank = min(true_rank, rank)
    rows = torch.randn(20, true_rank, dtype=torch.float64, generator=source) @ torch.randn(
        true_rank, dimension, dtype=torch.float64, generator=source
    )
    moment = SecondMoment(dimension, rank, source, CPU)
    for part in rows.split(7):
        moment.add(part)
    basis, values = moment.eigenpairs()
    assert basis.shape == (dimension, min(rank, dimension))
    exact = rows.T @ rows
    torch.testing.assert_close(
        basis * values @ basis.T, exact, rtol=1e-8, atol=1e-8 * max(1.0, exact.abs().max().item())
    )
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]).double(), rtol=0, atol=1e-10)


def test_a_sketch_is_near_the_best_of_its_rank() -> None:
    """With a spectrum that falls as 1 / i, 10 eigenvectors of 200 lose at most a fifth more than the best 10."""
    source = torch.Generator().manual_seed(1)
    basis, _ = torch.linalg.qr(torch.randn(200, 200, dtype=torch.float64, generator=source))
    spectrum = 1 / torch.arange(1, 201, dtype=torch.float64)
    exact = basis * spectrum @ basis.T
    moment = SecondMoment(200, 10, source, CPU)
    moment.add(basis.T * spectrum.sqrt().unsqueeze(1))
    found, values = moment.eigenpairs()
    lost = torch.linalg.matrix_norm(exact - found * values @ found.T, ord="nuc")
    assert lost < 1.2 * spectrum[10:].sum()


def predictive_variances(
    model: Any, encoded: Sequence[EncodedQuestion], factors: Mapping[str, KroneckerFactors], precision: float
) -> Tensor:
    return torch.cat(
        [linearise(model, collate([one]), factors, [precision]).covariances[0, 0].diagonal() for one in encoded]
    )


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["letter", "cloze"])
def test_the_gap_to_the_dense_matrix(scoring: str, make_config: Any, tmp_path: Path, quiet: Console) -> None:
    """A trained run and unseen questions: the factors approximate a sum of products, blocks and positions are left out.

    The gap is printed and must be within the reported range.
    """
    targets = ["q_proj", "v_proj", "down_proj"]
    config = make_config("lora", scoring={"kind": scoring}, adapter={"targets": targets}, training={"epochs": 3})
    train_run(config, tmp_path, quiet)
    run = load_run(tmp_path)
    model, splits = run.model.eval(), load_splits(config.data)[0]
    asked = encode_train(splits.train, model, config, quiet)
    whole, low = (fit_curvature(model, asked, rank, 10_000, 0) for rank in (WHOLE, 10))
    precision = precision_by_evidence(run.tensors, whole)
    dense = gauss_newton(model, asked).double()
    block = torch.block_diag(*blocks_of(dense, model, asked[0].encoded).values())
    unseen = [model.scorer.encode(question) for question in splits.test]
    rows = torch.cat([torch.cat(list(jacobian_of(model, one)[1].values()), dim=1) for one in unseen]).double()

    def variances(matrix: Tensor) -> Tensor:
        eye = torch.eye(len(matrix), dtype=torch.float64)
        return (rows * torch.linalg.solve(matrix + precision * eye, rows.T).T).sum(dim=1)

    reference = variances(dense)
    found = {
        "prior alone": rows.square().sum(dim=1) / precision,
        "dense blocks": variances(block),
        "Kronecker": predictive_variances(model, unseen, whole, precision),
        "Kronecker, rank 10": predictive_variances(model, unseen, low, precision),
    }
    ratios = {name: round((one.mean() / reference.mean()).item(), 3) for name, one in found.items()}
    ranks = torch.stack([reference, found["Kronecker, rank 10"]]).corrcoef()[0, 1].item()
    print(
        f"{scoring}, precision {precision:.3g}: mean variance over the dense matrix's {ratios}, correlation {ranks:.3f}"
    )
    assert 0.5 < ratios["Kronecker"] < 2
    assert ratios["Kronecker"] <= ratios["Kronecker, rank 10"] < ratios["prior alone"]
    assert ranks > 0.9


def test_dropout_is_no_part_of_the_curvature(tiny_base: Any, make_model: Any, questions: Any) -> None:
    """In evaluation mode two passes are bit-identical; training mode is an error."""
    model = make_model(tiny_base, experts=1, top_k=1, dropout=0.5)
    asked = training_questions(model, questions)
    first, second = (fit_curvature(model, asked, 5, 100, 7) for _ in range(2))
    assert all(torch.equal(first[name].curvature, second[name].curvature) for name in first)
    with pytest.raises(ValueError, match="training mode"):
        fit_curvature(model.train(), asked, 5, 100, 7)


@pytest.mark.slow
def test_the_precision_of_the_fit_split_has_the_lowest_nll(make_config: Any, tmp_path: Path, quiet: Console) -> None:
    """No other precision of the grid is better on the fit split, as served; the evidence chooses another one."""
    runs = {}
    for choice in ("fit_nll", "marglik"):
        options = {"samples": 100, "prior_precision": choice}
        config = make_config("laplace", options=options, training={"epochs": 1})
        train_run(config, tmp_path / choice, quiet, shared=tmp_path / "shared")
        runs[choice] = load_run(tmp_path / choice)
    run = runs["fit_nll"]
    posterior = run.result.posterior
    assert isinstance(posterior, LaplaceConfig)
    fit = load_splits(run.config.data)[0].fit

    def nll(precision: float) -> float:
        changed = posterior.model_copy(update={"prior_precision": precision})
        predictor = Predictor(run.model, changed.build(run.tensors))
        samples = score_in_batches(predictor.candidate_samples, [predictor.encode(q) for q in fit], 2000)
        return negative_log_likelihood(mean_probabilities(samples.logits), right_options(fit)).mean().item()

    chosen = nll(posterior.prior_precision)
    assert all(chosen <= nll(precision) + 1e-6 for precision in PRECISIONS[::4])
    by_evidence = runs["marglik"].result.posterior
    assert isinstance(by_evidence, LaplaceConfig)
    assert by_evidence.prior_precision not in PRECISIONS


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"samples": 3}, "options.samples"),
        ({"prior_precision": 0}, "options.prior_precision"),
        ({"prior_precision": "evidence"}, "options.prior_precision"),
        ({"factor_rank": 0}, "options.factor_rank"),
    ],
)
def test_options_that_mean_nothing_are_named(options: dict[str, Any], named: str, make_config: Any) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        make_config("laplace", options=options)
    assert LaplaceOptions().prior_precision == "marglik"


def test_a_precision_at_an_end_of_its_search_is_noticed() -> None:
    assert "at an end of the search from 0.01 to 1e+06" in end_of_search("fit_nll", PRECISIONS[-1])
    assert "at an end of the search from 1e-06 to 1e+09" in end_of_search("marglik", 1e9 * 0.99999)
    assert end_of_search("fit_nll", PRECISIONS[3]) == end_of_search("marglik", 2.0) == end_of_search(1e9, 1e9) == ""
