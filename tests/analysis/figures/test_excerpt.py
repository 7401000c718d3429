"""However many groups, layers and steps there are: figures stay small and say what they leave out."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from gradlab.analysis.figures.excerpt import MOST_GROUPS, MOST_LAYERS, MOST_ROWS, spread
from gradlab.analysis.figures.report import make_report
from gradlab.store.tables import schema
from tests.store.synthetic import FakeTrial, arrow, make_run


@given(st.lists(st.integers(), unique=True, min_size=1), st.integers(2, 50))
def test_spread_keeps_order_and_ends(items: list[int], most: int) -> None:
    found = spread(items, most)
    assert len(found) == min(most, len(items))
    assert [item for item in items if item in found] == found
    assert (found[0], found[-1]) == (items[0], items[-1])


def test_many_groups_of_deep_networks(tmp_path: Path) -> None:
    """130 groups of 60 layers, their first record copied to twelve steps."""
    trials = [FakeTrial(f"t{place}", depth=60, decay=0.9, settings={"lr": float(place)}) for place in range(130)]
    tables = arrow(trials)
    for name in ("steps", "layers"):
        rows = tables[name].to_pandas()
        copies = pd.concat([rows[rows["step"] == 0].assign(step=step) for step in range(0, 120, 10)])
        tables[name] = pa.Table.from_pandas(copies, schema=schema(name), preserve_index=False)
    run = make_run(tmp_path, [])
    run.write_part("part", **tables)
    report = make_report([run.path])
    assert len(report.labels) == 130
    layered = [figure for figure in report.figures if "layer" in figure.numbers]
    assert len(layered) == 4
    for figure in layered:
        numbers = figure.numbers
        assert numbers["group"].nunique() == MOST_GROUPS
        assert {0, 129} <= set(numbers["group"])
        assert numbers.groupby("group")["layer"].nunique().max() <= MOST_LAYERS
        assert {1, 60} <= set(numbers["layer"])
        assert {0, 110} <= set(numbers["step"])
        assert len(numbers) <= 1.5 * MOST_ROWS
        for told in ("100 of 130 groups", "of 12 recorded steps", "40 of 61 layers"):
            assert told in figure.sentence


def test_the_last_record_of_a_short_training_is_kept(tmp_path: Path) -> None:
    trials = [FakeTrial("short", last_step=7, settings={"lr": 1.0}), FakeTrial("long", last_step=900)]
    report = make_report([make_run(tmp_path, [trials]).path])
    steps = report.figures[0].numbers.groupby("group")["step"].max()
    assert sorted(steps) == [7, 900]
