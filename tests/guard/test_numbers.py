"""What `gradlab.check_gradients` measures is what `gradlab check` measures, and what the baseline holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gradlab import check_gradients
from gradlab.config.load import load
from gradlab.gate import measure
from gradlab.report.progress import ProgressDisplay
from gradlab.runner import Options
from gradlab.store.baseline import read_baseline
from gradlab.store.measurement import FIRST
from gradlab.terminal import open_console
from tests.end_to_end.commands import write_config
from tests.guard.networks import WIDTH, Residual, checked

FACTORIES = """
    import torch
    from torch import nn

    def make(in_features, out_features):
        return nn.Sequential(
            nn.Linear(in_features, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, out_features)
        )

    def data():
        g = torch.Generator().manual_seed(3)
        x, y = torch.randn(40, 5, generator=g).numpy(), (torch.arange(40) % 3).numpy()
        return {"x_train": x[:30], "y_train": y[:30], "x_eval": x[30:], "y_eval": y[30:], "task": "multiclass"}
    """


def test_statistics_are_those_that_gradlab_check_measures_at_step_0(tmp_path: Path) -> None:
    write_config(tmp_path, FACTORIES, "factories.py")
    config = {
        "data": {"name": "custom", "factory": "factories.py:data", "standardize": False},
        "model": {"family": "custom", "factory": "factories.py:make"},
        "train": {"steps": 1, "batch_size": 30},
        "record": {"probe": 30},
    }
    loaded = load(write_config(tmp_path, config))
    seeds = range(9)
    listener = ProgressDisplay(open_console(stderr=True), quiet=True)
    expected = measure(loaded, seeds, Options(workers=1), listener).measurement.networks[0]
    g = torch.Generator().manual_seed(3)
    data = torch.randn(40, 5, generator=g)[:30], torch.arange(30) % 3

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))

    outcome = check_gradients(make, data, F.cross_entropy, tmp_path / "b.json", update=True, seeds=9)
    (found,) = outcome.now.networks
    assert found.layers == expected.layers
    assert found.weight_counts == expected.weight_counts
    assert np.array_equal(found.weight_prints, expected.weight_prints)
    assert found.diverged == expected.diverged
    keys = {key for key in expected.values if key.step == FIRST and key.statistic != "update_ratio"}
    assert found.values.keys() == keys
    for key in keys:
        assert found.values[key] == pytest.approx(expected.values[key], rel=1e-9, abs=1e-9), key


def test_a_baseline_holds_what_was_measured(baseline: Path) -> None:
    outcome, known = checked(Residual, baseline), read_baseline(baseline, "")
    (now,), (before,) = outcome.now.networks, known.networks
    assert now.values.keys() == before.values.keys()
    for key, values in now.values.items():
        assert before.values[key] == pytest.approx(values, abs=1e-5), key


def test_the_random_stream_goes_on_as_if_nothing_had_been_measured(baseline: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    checked(Residual, baseline)
    assert torch.equal(torch.rand(2), expected)
    with torch.no_grad():
        assert checked(Residual, baseline).verdict == "pass"


def test_a_module_that_draws_has_the_same_numbers_each_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 32), nn.Dropout(0.5), nn.Linear(32, 3))
    first = checked(model, tmp_path / "b.json", update=True).now.networks[0]
    torch.rand(5)
    second = checked(model, tmp_path / "b.json").now.networks[0]
    assert all(np.array_equal(first.values[key], second.values[key]) for key in first.values)
