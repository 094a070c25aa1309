"""The displacement of the last step, against finite differences of the loss; and the anchor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_lr.adaptation.controller import LRController
from lightning_lr.adaptation.displacement import AnchorDisplacement, Displacement
from lightning_lr.adaptation.flat_params import FlatParams, flat_params
from lightning_lr.adaptation.last_step import LastStepDisplacement
from lightning_lr.adaptation.rules import Multiplicative


class Lion(torch.optim.Optimizer):
    """An optimizer that torch does not have (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023)."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                mean = self.state[parameter].setdefault("mean", torch.zeros_like(parameter))
                update = (0.9 * mean + 0.1 * parameter.grad).sign()
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
                mean.mul_(0.99).add_(parameter.grad, alpha=0.01)


optim = torch.optim
OPTIMIZERS: dict[str, Callable[[Any, float], torch.optim.Optimizer]] = {
    "SGD": lambda p, lr: optim.SGD(p, lr),
    "SGD, weight decay": lambda p, lr: optim.SGD(p, lr, weight_decay=0.3),
    "SGD, maximize": lambda p, lr: optim.SGD(p, lr, weight_decay=0.3, maximize=True),
    "momentum": lambda p, lr: optim.SGD(p, lr, 0.9),
    "momentum, dampening, weight decay": lambda p, lr: optim.SGD(p, lr, 0.9, 0.4, weight_decay=0.3),
    "momentum, maximize": lambda p, lr: optim.SGD(p, lr, 0.9, maximize=True),
    "Nesterov": lambda p, lr: optim.SGD(p, lr, 0.9, nesterov=True),
    "Nesterov, weight decay": lambda p, lr: optim.SGD(p, lr, 0.9, nesterov=True, weight_decay=0.3),
    "Nesterov, maximize": lambda p, lr: optim.SGD(p, lr, 0.9, nesterov=True, weight_decay=0.3, maximize=True),
    "Adam": lambda p, lr: optim.Adam(p, lr),
    "Adam, weight decay": lambda p, lr: optim.Adam(p, lr, weight_decay=0.3),
    "Adam, maximize": lambda p, lr: optim.Adam(p, lr, maximize=True),
    "amsgrad": lambda p, lr: optim.Adam(p, lr, (0.9, 0.5), amsgrad=True),
    "AdamW": lambda p, lr: optim.AdamW(p, lr, weight_decay=0.3),
    "AdamW, amsgrad, maximize": lambda p, lr: optim.AdamW(p, lr, weight_decay=0.3, amsgrad=True, maximize=True),
    "Adam, fused": lambda p, lr: optim.Adam(p, lr, fused=True),
    "RMSprop": lambda p, lr: optim.RMSprop(p, lr),
    "Adagrad": lambda p, lr: optim.Adagrad(p, lr),
    "NAdam": lambda p, lr: optim.NAdam(p, lr),
    "RAdam": lambda p, lr: optim.RAdam(p, lr),
    "Lion": lambda p, lr: Lion(p, lr, weight_decay=0.3),
}


def _displacement(optimizer: torch.optim.Optimizer) -> Displacement:
    return (
        LastStepDisplacement(optimizer) if type(optimizer) in LastStepDisplacement.SUPPORTED else AnchorDisplacement(1)
    )


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def _loss(network: nn.Module, t: int) -> Tensor:
    generator = torch.Generator().manual_seed(t)
    x = torch.randn(16, 3, generator=generator, dtype=torch.float64)
    loss: Tensor = (network(x).squeeze() - x.sum(1).sin()).pow(2).mean()
    return loss


def _backward(network: nn.Module, t: int, in_place: bool = False) -> None:
    network.zero_grad(set_to_none=not in_place)
    _loss(network, t).backward()  # type: ignore[no-untyped-call]


def _all_params(optimizer: torch.optim.Optimizer) -> list[FlatParams]:
    return [params for group in optimizer.param_groups for params in flat_params(group)]


def _dot(displacement: Displacement, parts: Iterable[FlatParams]) -> Tensor | None:
    """⟨g, d⟩ as it is summed in training; tells the displacement of the step."""
    dots = [sums[0] for params in parts if (sums := _measure(displacement, params)) is not None]
    return torch.stack(dots).sum() if dots else None


def _measure(displacement: Displacement, params: FlatParams) -> Tensor | None:
    """The sums of one measurement, after which an anchor follows. Parameters without a gradient have one of 0."""
    d = displacement.vector(params)
    if d is None:
        displacement.begin(params)
        return None
    gradient = params.gradients()
    sums = torch.stack([gradient @ d, gradient @ gradient, d @ d])
    displacement.follow(params, d, sums[2], sums.isfinite().all(), steps=1)
    return sums


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_derivative_of_the_loss_by_the_learning_rate(name: str) -> None:
    """-⟨g_t, u_t-1⟩ is what central differences of one real step give, in the middle of training."""
    lr = 0.05
    network = _network()
    optimizer = OPTIMIZERS[name](network.parameters(), lr)
    displacement, parts = _displacement(optimizer), _all_params(optimizer)
    for t in range(4):
        _backward(network, t)
        _dot(displacement, parts)
        if t == 3:
            break
        optimizer.step()
        displacement.after_step()

    def after(rate: float) -> float:
        trial = copy.deepcopy(network)
        again = OPTIMIZERS[name](trial.parameters(), lr)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        _backward(trial, 3)
        again.param_groups[0]["lr"] = rate
        again.step()
        return _loss(trial, 4).item()

    # RAdam rectifies from step 6 on, RMSprop's sums lie at 1e-8: the step is linear in lr for all of them
    step = 1e-4
    expected = (after(lr - 2 * step) - 8 * after(lr - step) + 8 * after(lr + step) - after(lr + 2 * step)) / (12 * step)
    optimizer.step()
    displacement.after_step()
    _backward(network, 4)
    dot = _dot(displacement, parts)
    assert dot is not None
    sign = -1 if "maximize" in name else 1  # gradients are given of what is minimised
    assert -sign * dot.item() / lr == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_gradients_that_are_overwritten_are_copied(nesterov: bool) -> None:
    """``zero_grad(set_to_none=False)``, and buckets of DDP: one dot is lost, and none is wrong."""
    rates: dict[bool, list[float]] = {}
    for in_place in (False, True):
        network = _network()
        optimizer = optim.SGD(network.parameters(), 0.05, 0.9 * nesterov, nesterov=nesterov)
        displacement, parts = LastStepDisplacement(optimizer), _all_params(optimizer)
        rates[in_place] = []
        for t in range(6):
            _backward(network, t, in_place)
            dot = _dot(displacement, parts)
            rates[in_place].append(0.0 if dot is None else dot.item())
            optimizer.step()
            displacement.after_step()
    assert rates[True][1] == 0.0
    assert rates[True][2:] == pytest.approx(rates[False][2:], rel=1e-12)


def test_parameters_without_a_gradient_have_not_moved() -> None:
    network = _network()
    optimizer = optim.AdamW(network.parameters(), 0.05, weight_decay=0.3)
    displacement, parts = LastStepDisplacement(optimizer), _all_params(optimizer)
    first = network[0].weight
    for t in range(3):
        _backward(network, t)
        if t == 2:
            first.grad = None
        before = [parameter.detach().clone() for parameter in network.parameters()]
        optimizer.step()
        displacement.after_step()
    (params,) = parts
    moved = displacement.vector(params)
    assert moved is not None
    for parameter, was, part in zip(network.parameters(), before, params.split(moved), strict=True):
        torch.testing.assert_close(part.view_as(parameter), was - parameter.detach(), rtol=1e-9, atol=1e-14)
    assert not params.split(moved)[0].any()


def test_hyperparameters_are_those_of_the_step() -> None:
    """Cycles change them before the next one."""
    network = _network()
    optimizer = optim.AdamW(network.parameters(), 0.05, weight_decay=0.3)
    displacement, parts = LastStepDisplacement(optimizer), _all_params(optimizer)
    for t in range(3):
        _backward(network, t)
        before = parts[0].values().clone()
        optimizer.step()
        displacement.after_step()
        optimizer.param_groups[0].update(betas=(0.5, 0.9), weight_decay=0.1, lr=0.02)
        if t < 2:
            optimizer.param_groups[0].update(betas=(0.9, 0.999), weight_decay=0.3, lr=0.05)
    moved = displacement.vector(parts[0])
    assert moved is not None
    torch.testing.assert_close(moved, before - parts[0].values(), rtol=1e-9, atol=1e-14)


def test_a_step_that_forgets_where_it_began_has_no_displacement() -> None:
    """α λ = 1: decoupled weight decay takes all of θ away."""
    network = _network()
    optimizer = optim.AdamW(network.parameters(), 10.0, weight_decay=0.1)
    displacement, parts = LastStepDisplacement(optimizer), _all_params(optimizer)
    _backward(network, 0)
    optimizer.step()
    displacement.after_step()
    assert displacement.vector(parts[0]) is None


def test_anchor_by_hand() -> None:
    theta = nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    displacement, (params,) = AnchorDisplacement(4), flat_params({"params": [theta]})
    iterates, mean = [0.0, 1.0, 3.0, -2.0, 5.0], 0.0
    for i, value in enumerate(iterates):
        with torch.no_grad():
            theta.fill_(value)
        if i:
            moved = displacement.vector(params)
            assert moved is not None
            assert moved.item() == pytest.approx(mean - value)
        _measure(displacement, params)
        mean += (value - mean) / 4
    displacement.restore(params)
    assert theta.item() == pytest.approx(mean)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_an_iterate_that_blew_up_is_not_averaged_in(bad: float) -> None:
    theta = nn.Parameter(torch.zeros(3))
    displacement, (params,) = AnchorDisplacement(4), flat_params({"params": [theta]})
    for value in (0.0, 1.0, bad, bad):
        with torch.no_grad():
            theta.fill_(1.0)
            theta[0] = value
        _measure(displacement, params)
    displacement.restore(params)
    assert theta.detach().abs().max() <= 1.0


def test_an_iterate_whose_gradient_is_not_finite_is_not_averaged_in() -> None:
    theta = nn.Parameter(torch.zeros(2))
    displacement, (params,) = AnchorDisplacement(4), flat_params({"params": [theta]})
    for value, gradient in ((0.0, 1.0), (1.0, 1.0), (1.5, float("nan")), (1.5, float("inf"))):
        with torch.no_grad():
            theta.fill_(value)
        theta.grad = torch.tensor([1.0, gradient])
        _measure(displacement, params)
    displacement.restore(params)
    assert theta.tolist() == [0.25, 0.25]


def _follow(distances: list[tuple[float, bool]]) -> list[bool]:
    """Whether an anchor at 0 with a long horizon follows parameters at these distances, each if it is allowed to."""
    theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    displacement, (params,) = AnchorDisplacement(1e9), flat_params({"params": [theta]})
    displacement.begin(params)
    followed = []
    for distance, is_allowed in distances:
        with torch.no_grad():
            theta.fill_(distance)
        d = displacement.vector(params)
        assert d is not None
        displacement.follow(params, d.clone(), d @ d, torch.tensor(is_allowed), steps=1)
        after = displacement.vector(params)
        assert after is not None
        followed.append(abs(after.item()) < abs(d.item()))
    return followed


@pytest.mark.parametrize(
    ("distances", "followed"),
    [
        ([(1, True), (9.9, True)], [True, True]),
        ([(1, True), (10.1, True)], [True, False]),
        ([(1, True), (9.9, True), (19.9, True)], [True, True, True]),  # 9.9 counts as 2
        ([(1, True), (9.9, True), (20.1, True)], [True, True, False]),
        ([(1, True), (100, True), (19.9, True)], [True, False, True]),  # so does 100
        ([(1, True), (9.9, False), (10.1, True)], [True, False, False]),  # what is not allowed does not count
        ([(0, True), (1e-3, True), (9.9e-3, True)], [False, True, True]),  # a start from 0
    ],
)
def test_what_is_far_is_not_averaged_in(distances: list[tuple[float, bool]], followed: list[bool]) -> None:
    assert _follow(distances) == followed


def test_the_anchor_follows_parameters_that_stay_far_away() -> None:
    """It does not stay behind for good."""
    theta = nn.Parameter(torch.zeros(1))
    displacement, (params,) = AnchorDisplacement(4), flat_params({"params": [theta]})
    for value in (0.0, 1e-3, *[1e3] * 40):
        with torch.no_grad():
            theta.fill_(value)
        _measure(displacement, params)
    displacement.restore(params)
    assert theta.item() == pytest.approx(1e3, rel=0.01)


def test_distances_of_an_older_checkpoint_are_taken() -> None:
    theta = nn.Parameter(torch.zeros(1))
    new, old, (params,) = AnchorDisplacement(4), AnchorDisplacement(4), flat_params({"params": [theta]})
    for value in (0.0, 3.0):
        with torch.no_grad():
            theta.fill_(value)
        _measure(new, params)
    state = new.state({theta: 0})
    assert state["squares"] == [[0, 0, 9.0]]
    older = {"means": state["means"], "squares": [], "reach": [[0, 0, 3.0]]}
    old.load_state(older, [theta], [params])
    assert old.state({theta: 0}) == state


def test_resumes_exactly() -> None:
    """Both kinds of displacement."""
    for make in (lambda o: AnchorDisplacement(5), LastStepDisplacement):  # noqa: ARG005
        network = _network()
        optimizer = optim.SGD(network.parameters(), 0.05)
        displacement, parts = make(optimizer), _all_params(optimizer)
        resumed = make(optimizer)
        parameters = list(network.parameters())
        for t in range(8):
            _backward(network, t)
            if t == 5:
                resumed.load_state(displacement.state({p: i for i, p in enumerate(parameters)}), parameters, parts)
            dot = _dot(displacement, parts)
            if t >= 5:
                again = _dot(resumed, parts)
                assert dot is not None
                assert again is not None
                assert torch.equal(dot, again)
            optimizer.step()
            displacement.after_step()
            resumed.after_step()


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_sparse_measurements_also_look_back_one_step(name: str) -> None:
    """Each third alignment of a run that measures every third step is that of one that measures every step."""
    alignments = {}
    for every in (1, 3):
        network = _network()
        optimizer = OPTIMIZERS[name](network.parameters(), 0.05)
        controller = LRController(optimizer, lambda: Multiplicative(0.1), None, adapts=False, every=every)
        seen = {}
        for t in range(12):
            _backward(network, t)
            controller.before_step()
            while controller.measured:
                seen[t] = controller.measured.pop().sums.tolist()
            optimizer.step()
            controller.after_step()
        alignments[every] = seen
    assert list(alignments[3]) == [0, 3, 6, 9]
    for t in (3, 6, 9):
        assert alignments[3][t] == pytest.approx(alignments[1][t], rel=1e-9)
