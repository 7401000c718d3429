"""How much waits to be written, however short the steps are."""

from pathlib import Path

import pytest
import torch

import gradlab
from gradlab.watching import journal
from tests.watching.loops import data, loss, network


def test_rows_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PAUSE", 1e6)
    monkeypatch.setattr(journal, "_LONGEST", 1e6)
    monkeypatch.setattr(journal, "_MOST", 40)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    waiting = []
    with gradlab.watch(model, optimizer, every=1, out=tmp_path / "run", seed=0) as recorder:
        for _ in range(60):
            optimizer.zero_grad()
            loss(model, data()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            waiting.append(sum(len(record.rows) for record in recorder._journal._pending))
    rows_of_a_record = waiting[0]
    assert 0 < rows_of_a_record < 40
    assert 40 <= max(waiting) < 40 + rows_of_a_record
    files = len(list((tmp_path / "run" / "layers").glob("*.parquet")))
    assert files >= 60 * rows_of_a_record // (40 + rows_of_a_record)
