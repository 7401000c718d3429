"""Statistics over layers and steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gradlab.analysis.figures import series
from gradlab.analysis.figures.report import make_report
from tests.store.synthetic import FakeTrial, make_run


def test_reading_in_pieces_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [FakeTrial(f"t{seed}", seed, decay=0.5 + 0.1 * seed, last_step=10 * (seed + 1)) for seed in range(3)]
    run = make_run(tmp_path, [trials])
    whole = make_report([run.path])
    monkeypatch.setattr(series, "AT_ONCE", 20)
    for one, other in zip(whole.figures, make_report([run.path]).figures, strict=True):
        pd.testing.assert_frame_equal(one.numbers, other.numbers)
