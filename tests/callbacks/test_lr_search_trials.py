"""The trials of `LRSearch`: their batches, their steps, and survivors that go on."""

from __future__ import annotations

import pytest
from torch import Tensor

from lightning_lr import LRSearch
from tests.helpers.lightning_classes import MisconfigurationException, seed_everything
from tests.helpers.lr_finder_runs import SHORT_SEARCH, fit, found, stream
from tests.helpers.tiny_models import Classifier

pytestmark = pytest.mark.filterwarnings("ignore:LRSearch is not confident")


BATCHES: list[tuple[float, Tensor]] = []  # where no snapshot reaches


class NotesBatches(Classifier):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        BATCHES.append((self.optimizers().param_groups[0]["lr"], batch[0].sum()))  # type: ignore[union-attr]
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(("limit", "number"), [(100, 20), (6, 6), (0.25, 5), (1.0, 20)])
def test_same_batches_in_the_same_order_for_every_trial(limit: float, number: int) -> None:
    BATCHES.clear()
    search = LRSearch(**SHORT_SEARCH, limit_batches=limit)
    fit(NotesBatches(), search, max_epochs=1)
    of_trials = BATCHES[: -20 if len(BATCHES) > 20 else None]
    first = [x for lr, x in of_trials if lr == of_trials[0][0]]
    assert len(set(map(float, first))) == number
    for candidate in found(search).candidates:
        row = [x for lr, x in of_trials if lr == pytest.approx(candidate.lr)]
        # of each trial from its start, and of one that went on from where it was: always the same round
        assert row[:number] == first[: len(row[:number])]
        assert set(map(float, row)) <= set(map(float, first))


@pytest.mark.parametrize("limit", [100, 7])
def test_survivors_that_go_on_are_survivors_that_start_again(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for free in (1e9, 1e3):
        monkeypatch.setattr("lightning_lr.trainer.trials.free_bytes", lambda _, free=free: free)
        search = LRSearch(1e-3, 1.0, limit_batches=limit)
        seed_everything(0)
        fit(Classifier(optimizer="Adam"), search, max_epochs=7)
        results.append(found(search))
    first, second = results
    assert first.candidates == second.candidates
    assert first.steps < second.steps


def test_accumulation_counts_optimizer_steps() -> None:
    search = LRSearch(**SHORT_SEARCH)
    fit(Classifier(), search, accumulate_grad_batches=3, max_epochs=15)
    assert found(search).steps <= 800
    assert max(each.steps for each in found(search).candidates) == 105  # 7 an epoch


def test_a_stream_that_can_be_read_once() -> None:
    search, searched, plain = LRSearch(**SHORT_SEARCH), Classifier(lr=1e-3), Classifier()
    plain.load_state_dict(searched.state_dict())
    fit(searched, search, data=stream(), max_epochs=1)
    plain.hparams["lr"] = found(search).lr
    fit(plain, data=stream(), max_epochs=1)
    assert searched.losses == plain.losses
    with pytest.raises(MisconfigurationException, match=r"limit_batches=0.5.* has no length"):
        fit(Classifier(), LRSearch(limit_batches=0.5), data=stream())
