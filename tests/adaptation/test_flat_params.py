"""Parameters as long vectors: every element once, in the order of its parameter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import lightning_lr.adaptation.flat_params
from lightning_lr.adaptation.flat_params import FlatParams, flat_params


@pytest.fixture(params=[10, 1000])
def limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """With 10 elements in a vector, nearly every parameter is cut."""
    monkeypatch.setattr(lightning_lr.adaptation.flat_params, "_max_elements", lambda device: request.param)  # noqa: ARG005
    return int(request.param)


def _parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [
        nn.Parameter(torch.randn(3, 9)),
        nn.Parameter(torch.randn(4)),
        nn.Parameter(torch.randn(())),
        nn.Parameter(torch.randn(2, 5), requires_grad=False),
        nn.Parameter(torch.randn(0)),
        nn.Parameter(torch.randn(2, 8).to(torch.bfloat16)),
        nn.Parameter(torch.randn(2, 3, dtype=torch.complex64)),
        nn.Parameter(torch.randn(2, 4, 3, 3).to(memory_format=torch.channels_last)),
        nn.Parameter(torch.randn(5, 3).double()),
    ]


def test_sums_are_those_over_all_parameters(limit: int) -> None:
    parameters = _parameters()
    parts = list(flat_params({"params": parameters}))
    trainable = [p for p in parameters if p.requires_grad]
    assert {p for params in parts for p in params.parameters} == {p for p in trainable if p.numel()}
    assert all(len(params.values()) <= max(limit, 72) for params in parts)
    assert all(params.values().dtype in (torch.float32, torch.float64) for params in parts)
    expected = sum((p.detach().abs().double() ** 2).sum().item() for p in trainable)
    assert sum((params.values() @ params.values()).item() for params in parts) == pytest.approx(expected, rel=1e-6)


def test_reads_what_was_written(limit: int) -> None:
    parameters = _parameters()
    before = [p.detach().clone() for p in parameters]
    for params in flat_params({"params": parameters}):
        params.write(2 * params.values())
    for parameter, was in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter.detach(), 2 * was if parameter.requires_grad else was)


def test_gradients(limit: int) -> None:
    sparse = nn.Parameter(torch.zeros(6, 2))
    sparse.grad = torch.sparse_coo_tensor(torch.tensor([[1, 1, 4]]), torch.ones(3, 2), (6, 2), check_invariants=False)
    without = nn.Parameter(torch.zeros(3))
    for sign, maximize in ((1, False), (-1, True)):
        parts = list(flat_params({"params": [sparse, without], "maximize": maximize}))
        flat = torch.cat([params.gradients() for params in parts])
        assert sorted(flat.tolist()) == sorted([0.0] * 11 + [2.0 * sign] * 2 + [1.0 * sign] * 2)


def test_slices_of_a_sparse_gradient(limit: int) -> None:
    """Rows twice, rows of more than one slice, and none at all."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.zeros(40, 3))
    rows = torch.tensor([[0, 7, 7, 39, 12]])
    parameter.grad = torch.sparse_coo_tensor(rows, torch.randn(5, 3), (40, 3), check_invariants=False)
    flat = torch.cat([params.gradients() for params in flat_params({"params": [parameter]})])
    torch.testing.assert_close(flat, parameter.grad.to_dense().reshape(-1))


def test_numbers_are_expanded_to_their_parameters() -> None:
    params = FlatParams({}, (nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))), 1.0)
    assert params.expand([0.5, 0.5]) == 0.5
    assert params.expand([None, 0.5]) == 0.5
    expanded = params.expand([torch.tensor(1.0), 2.0])
    assert isinstance(expanded, torch.Tensor)
    assert expanded.tolist() == [1, 1, 2, 2, 2]


def test_each_process_counts_for_its_share() -> None:
    (params,) = flat_params({"params": [nn.Parameter(torch.ones(2))]}, world_size=4)
    assert params.share == 0.25
