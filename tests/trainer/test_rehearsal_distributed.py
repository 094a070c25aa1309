"""A run with a rehearsal equals the run without one, on every rank of a distributed run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch.distributed.tensor import DTensor

from lightning_lr import LRRangeTest
from tests.contracts.models import Net, batches
from tests.contracts.trained import QUIET, quiet
from tests.helpers.distributed import start_ranks, wait_for_ranks
from tests.helpers.forked_ranks import run_ranks
from tests.helpers.lightning_classes import ModelParallelStrategy, Trainer


# With three ranks the sum of gradients depends on the order of the terms; with two it would not.
@pytest.mark.parametrize(("case", "ranks"), [("ddp", 3), ("mean", 2), ("range test", 2), ("fsdp2", 2)])
def test_leaves_no_trace(case: str, ranks: int, tmp_path: Path) -> None:
    processes = start_ranks("rehearsal_rank", [case, str(tmp_path), str(ranks)], ranks)
    errors = wait_for_ranks(processes, timeout=400)
    assert [process.returncode for process in processes] == [0] * ranks, "\n".join(errors)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a process that has used CUDA cannot fork")
def test_hooks_that_fsdp2_registers_in_a_rehearsal_stay() -> None:
    """They shard the parameters again for a state dict. A validation leaves them gathered."""

    def kinds_of_weights() -> set[type]:
        strategy = ModelParallelStrategy(1, 1)
        test = LRRangeTest(num_steps=10, verify=False)
        with quiet():
            trainer = Trainer(
                **QUIET, strategy=strategy, devices=1, max_epochs=1, num_sanity_val_steps=0, callbacks=[test]
            )
            trainer.fit(module := Net(), batches(), batches(1))
        return {type(value) for name, value in module.state_dict().items() if "head" in name}

    (rank,) = run_ranks(kinds_of_weights, ranks=1)
    assert rank.value == {DTensor}, rank.error


@pytest.mark.parametrize("case", ["fails", "search fails"])
def test_an_error_on_one_rank_ends_the_job_at_once(case: str, tmp_path: Path) -> None:
    processes = start_ranks("rehearsal_rank", [case, str(tmp_path), str(2)], 2)
    errors = wait_for_ranks(processes, timeout=300)
    assert time.time() - float((tmp_path / "failed").read_text()) < 30  # seconds since it was raised
    assert all(process.returncode not in (0, None) for process in processes)
    assert "ValueError: the user's own error" in errors[1]
