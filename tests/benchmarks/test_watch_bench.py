"""Who takes part in the benchmark of `gradlab.watch` trains the same and records the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks.watch.__main__ import compared
from benchmarks.watch.memory import measured
from benchmarks.watch.models import CASES, MLP, Case, ResNet, Transformer, images, sequences
from benchmarks.watch.sides import AGAIN, GRADLAB, GRADLAB_ALWAYS, NOBODY, SIDES
from benchmarks.watch.small import unrecorded_step
from benchmarks.watch.tables import print_costs, print_memory
from benchmarks.watch.training import Spent, train
from benchmarks.yardstick import Seconds

BY_HAND = "by hand, every=10"

SMALL = {
    "resnet": Case("resnet", lambda: ResNet(8, 1), images(16), 5, 11),
    "transformer": Case("transformer", lambda: Transformer(32, 2, 1000, 12), sequences(12), 5, 11),
    "mlp": replace(MLP, steps=11),
}


def recorded(case: Case, optimizer: str) -> pd.DataFrame:
    """What gradlab records: step, name, column -> value."""
    tables: list[pd.DataFrame] = []

    def look(folder: Path) -> None:
        layers, steps = (pd.read_parquet(folder / "run" / table) for table in ("layers", "steps"))
        tables.append(pd.concat([layers, steps.assign(name="")]))

    train(case, optimizer, SIDES[GRADLAB], case.steps, look)
    (table,) = tables
    return table.set_index(["step", "name"])


def by_hand(case: Case, optimizer: str) -> dict[tuple[int, str, str], float]:
    """What the hooks written by hand record, likewise."""
    found: dict[tuple[int, str, str], float] = {}

    def look(folder: Path) -> None:
        with np.load(folder / "by_hand.npz") as file:
            for step, row in zip(file["steps"], file["values"], strict=True):
                for (name, column), value in zip(file["columns"], row, strict=True):
                    found[int(step), str(name), str(column)] = float(value)

    train(case, optimizer, SIDES[BY_HAND], case.steps, look)
    return found


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", SMALL)
def test_hooks_written_by_hand_record_what_gradlab_records(name: str, optimizer: str) -> None:
    ours, theirs = recorded(SMALL[name], optimizer), by_hand(SMALL[name], optimizer)
    expected = {
        (step, layer, column): value
        for (step, layer), row in ours.iterrows()
        for column, value in row.items()
        if isinstance(value, int | float) and not np.isnan(value)
    }
    not_measured = {"layer", "units", "weight_count", "float32_zero_fraction"}
    only_ours = {key for key in expected if key[2] not in not_measured and not key[2].startswith("log10_")} - set(
        theirs
    )
    assert only_ours == set()
    assert {key[0] for key in theirs} == {0, 10}
    # The loop by hand doesn't know which layer is the output: its units mean nothing.
    only_theirs = {key for key in theirs if key not in expected}
    assert {column for _, _, column in only_theirs} <= {"zero_gradient_units"}
    for key in set(theirs) & set(expected):
        assert theirs[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-7), key


@pytest.mark.parametrize("name", SMALL)
def test_a_training_is_the_same_whoever_watches(name: str) -> None:
    losses = [train(SMALL[name], "adam", start, 11).losses for start in SIDES.values()]
    assert all(one == losses[0] for one in losses)


def test_the_big_models_are_what_they_are_called() -> None:
    parameters = {name: sum(p.numel() for p in case.build().parameters()) for name, case in CASES.items()}
    # 11.7 million with 1000 classes and the stem for large images (He et al. 2016), half a million less without.
    assert 11.1e6 < parameters["resnet"] < 11.3e6
    blocks = {width: 4 * (12 * width**2 + 13 * width) for width in (64, 128)}
    for width, inside in blocks.items():
        outside = (1000 + 64) * width + 2 * width + 11 * 10 * width
        assert inside < parameters[f"transformer{width}"] < inside + outside


def test_costs_are_measured_and_drawn() -> None:
    case = replace(MLP, steps=3)
    rounds = compared(case, "sgd", 2, (NOBODY, AGAIN, GRADLAB))
    assert all(0 < spent.steps().processor < 10 for one in rounds for spent in one.values())
    bare, _ = unrecorded_step(1)
    assert bare > 0
    page = Console(width=200, record=True)
    print_costs(page, [(case, "sgd", rounds)])
    assert page.export_text().count("MLP") == 2


def test_the_share_of_records_does_not_depend_on_how_fast_the_machine_is() -> None:
    # Steps of 2 s at first, of 4 s later; a record takes as long as one of them, and a tenth of that the step before.
    pace = [2.0] * 11 + [4.0] * 10
    factors = [50.0] + ([1.0] * 8 + [1.1, 2.0]) * 2
    laps = tuple(Seconds(one * factor, 0) for one, factor in zip(pace, factors, strict=True))
    assert Spent(Seconds(0, 0), laps, Seconds(0, 0)).records() == pytest.approx(0.11)


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    found = measured("mlp", "adam", GRADLAB_ALWAYS, 20)
    assert found.records == 20
    assert 0 <= found.growth < found.peak
    assert found.files >= 5
    page = Console(width=200, record=True)
    print_memory(page, [("mlp", GRADLAB_ALWAYS, 20, found)])
    assert "mlp" in page.export_text()
