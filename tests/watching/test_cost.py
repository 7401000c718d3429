"""What a recorder must not cost: reading tensors between records, and memory with every step."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gradlab
from gradlab.watching.journal import Journal
from tests.watching.loops import data, loss, network

READERS = ("item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__", "__array__", "__repr__")
"""Whatever brings the numbers of a tensor to Python: on an accelerator each of them waits for all that is queued."""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        original = getattr(Tensor, name)

        def read(self: Tensor, *arguments: Any, **keywords: Any) -> Any:
            counts[name] += 1
            return original(self, *arguments, **keywords)

        return read

    for name in READERS:
        monkeypatch.setattr(Tensor, name, counted(name))
    return counts


def test_no_tensor_is_read_between_records(reads: Counter[str], tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    found: dict[int, int] = {}
    with gradlab.watch(model, optimizer, every=5, out=tmp_path / "run", seed=0) as recorder:
        for number in range(16):
            reads.clear()
            optimizer.zero_grad()
            value = loss(model, data())
            recorder.log(train_loss=value)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            found[number] = reads.total()
    assert {number for number, count in found.items() if count} == {0, 5, 10, 15}


def test_a_loss_that_is_told_after_the_step_is_read_at_records_only(reads: Counter[str], tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found: dict[int, int] = {}
    with gradlab.watch(model, optimizer, every=4, out=tmp_path / "run", seed=0) as recorder:
        for number in range(9):
            optimizer.zero_grad()
            value = loss(model, data())
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            reads.clear()
            recorder.log(train_loss=value)
            found[number] = reads.total()
    assert {number: count for number, count in found.items() if count} == {0: 1, 4: 1, 8: 1}


def test_memory_does_not_grow_with_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "is_due", property(lambda journal: len(journal._pending) >= 20))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    inputs = data()
    found: list[tuple[int, int]] = []
    with gradlab.watch(model, optimizer, every=2, out=tmp_path / "run", seed=0) as recorder:
        tracemalloc.start()
        try:
            for number in range(1201):
                optimizer.zero_grad()
                value = loss(model, inputs)
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                recorder.log(train_loss=value)
                if number in {400, 1200}:
                    gc.collect()
                    tensors = sum(issubclass(type(one), Tensor) for one in gc.get_objects())
                    found.append((tracemalloc.get_traced_memory()[0], tensors))
        finally:
            tracemalloc.stop()
    (early, tensors_early), (late, tensors_late) = found
    assert tensors_late <= tensors_early
    assert late < early + 50_000, "bytes after 400 further records"
