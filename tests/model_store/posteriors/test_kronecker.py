"""Covariance by factors, compared with the inverse of the dense matrix that they represent."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model_store.posteriors.kronecker_factors import dense_curvature, random_factors
from uq4ct.model_store.posteriors.kronecker import stored_factors


@settings(deadline=None, max_examples=50)
@given(
    out=st.integers(1, 5),
    into=st.integers(1, 5),
    ranks=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    precision=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_the_covariance_is_that_of_the_dense_inverse(
    out: int, into: int, ranks: tuple[int, int], precision: float, seed: int
) -> None:
    source = torch.Generator().manual_seed(seed)
    factors = random_factors(out, into, ranks, source)
    jacobian = torch.randn(2, 3, out, into, dtype=torch.float64, generator=source)
    eye = torch.eye(out * into, dtype=torch.float64)
    flat = jacobian.flatten(2)
    dense = dense_curvature(factors)
    found = factors.covariance(jacobian, [precision, 2.0])
    for value, one in zip((precision, 2.0), found, strict=True):
        matrix = value * eye + dense
        # The reference's own rounding: where the precision is small against the curvature, its inverse loses digits.
        rounding = len(matrix) * torch.finfo(matrix.dtype).eps * torch.linalg.cond(matrix).item()
        expected = flat @ torch.linalg.inv(matrix) @ flat.mT
        torch.testing.assert_close(one, expected, rtol=max(1e-9, rounding), atol=1e-9)


def test_a_tiny_precision_cancels_nothing() -> None:
    """A Jacobian within the kept rank has a variance of order 1, however large that of the prior is."""
    source = torch.Generator().manual_seed(2)
    factors = random_factors(4, 5, (4, 2), source)
    inside = torch.randn(1, 3, 4, 2, dtype=torch.float64, generator=source) @ factors.input_basis.T
    covariance = factors.to(torch.device("cpu"), torch.float32).covariance(inside.float(), [1e-7])[0, 0]
    flat = inside.flatten(2)[0]
    expected = flat @ torch.linalg.pinv(dense_curvature(factors), rtol=1e-12) @ flat.T
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-4)
    assert (torch.linalg.eigvalsh(covariance) > 0).all()


def test_factors_are_read_as_they_were_stored() -> None:
    factors = random_factors(3, 4, (3, 2), torch.Generator().manual_seed(1)).to(torch.device("cpu"), torch.float32)
    stored = factors.stored("x.experts.A")
    assert set(stored) == {
        f"posterior.x.experts.A.{part}_{what}" for part in ("input", "output") for what in ("basis", "values")
    }
    assert stored_factors("x.experts.A", stored).stored("x.experts.A").keys() == stored.keys()
    read = stored_factors("x.experts.A", stored)
    assert torch.equal(read.curvature, factors.curvature)
    assert torch.equal(read.input_basis, factors.input_basis)
    assert torch.equal(read.output_basis, factors.output_basis)
