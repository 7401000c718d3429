"""CSV files hold what the tables hold, to the last bit."""

from __future__ import annotations

import csv
import math
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlab.engine.decisions import Decisions
from gradlab.engine.history import TrialHistory
from gradlab.export.comma_separated import write_csv
from gradlab.export.selection import select
from gradlab.store.reading import Skipped, parts_of
from gradlab.store.row_groups import PartFiles
from gradlab.store.rundir import RunDirectory
from gradlab.store.tables import TABLES, schema
from gradlab.tabulate import regions_table
from tests.export.runs import AWKWARD, awkward_run
from tests.store.synthetic import FakeTrial, arrow, make_run

Rows = list[dict[str, Any]]


def exported(run: RunDirectory, folder: Path, where: str | None = None) -> Path:
    selection = select(run, where)
    write_csv(selection.trials, selection.rows, folder)
    return folder


def stored(run: RunDirectory, table: str) -> Rows:
    return [row for part in parts_of(run, table) if not isinstance(part, Skipped) for row in part.to_pylist()]


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) and not math.isnan(value) else str(value)


def read_back(file: Path, types: dict[str, pa.DataType]) -> Rows:
    """A CSV file by Python's own reader, each cell as the type of its column says."""
    parse = {pa.int64(): int, pa.float64(): float, pa.bool_(): {"true": True, "false": False}.__getitem__}
    with file.open(newline="", encoding="utf-8") as stream:
        return [
            {name: (parse.get(types[name], str)(cell) if cell else None) for name, cell in row.items()}
            for row in csv.DictReader(stream)
        ]


def assert_same(found: Rows, wanted: Rows) -> None:
    # Readers of CSV can't tell an empty text from a null.
    plain = [{name: bits(None if value == "" else value) for name, value in row.items()} for row in wanted]
    assert [{name: bits(value) for name, value in row.items()} for row in found] == plain


@pytest.mark.parametrize("table", ["trials", "steps", "layers"])
def test_every_cell_comes_back_with_its_bits(table: str, tmp_path: Path) -> None:
    run = awkward_run(tmp_path)
    file = exported(run, tmp_path) / f"{table}.csv"
    types = dict(TABLES[table]) | {"train.momentum": pa.float64()}
    assert_same(read_back(file, types), stored(run, table))


@pytest.mark.parametrize("table", ["trials", "steps", "layers"])
def test_pandas_reads_the_same_bits(table: str, tmp_path: Path) -> None:
    run = awkward_run(tmp_path)
    file = exported(run, tmp_path) / f"{table}.csv"
    found = pd.read_csv(file)
    wanted = pd.DataFrame(stored(run, table))
    for name, kind in TABLES[table].items():
        if kind == pa.float64():
            assert found[name].astype(float).equals(wanted[name].astype(float)), name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.lists(st.floats(), min_size=1))
def test_any_number_comes_back(tmp_path: Path, numbers: list[float]) -> None:
    ids = [str(place) for place in range(len(numbers))]
    rows = pa.Table.from_pylist(
        [{"trial_id": trial, "step": 0, "grad_norm": value} for trial, value in zip(ids, numbers, strict=True)],
        schema=schema("steps"),
    )
    write_csv(arrow([FakeTrial("a")])["trials"], lambda table: iter([rows] if table == "steps" else []), tmp_path)
    assert_same(read_back(tmp_path / "steps.csv", TABLES["steps"]), rows.to_pylist())


def test_tables_without_rows_have_a_header(tmp_path: Path) -> None:
    write_csv(arrow([FakeTrial("a")])["trials"], lambda table: iter([]), tmp_path)
    assert list(pd.read_csv(tmp_path / "layers.csv").columns) == list(TABLES["layers"])


def test_no_more_than_two_parts_are_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[pa.Table]] = []
    most = 0

    def parts(table: str) -> Iterator[pa.Table]:
        nonlocal most
        for place in range(0 if table == "regions" else 20):
            part = arrow([FakeTrial(str(place))])[table]
            alive.append(weakref.ref(part))
            most = max(most, sum(one() is not None for one in alive))
            yield part
            del part

    write_csv(arrow([FakeTrial("a")])["trials"], parts, tmp_path)
    assert len(alive) == 40
    assert most <= 2


def test_a_column_that_a_part_lacks_is_null(tmp_path: Path) -> None:
    run = awkward_run(tmp_path)
    part = run.parts("layers")[0]
    rows = pq.read_table(part)
    pq.write_table(rows.drop_columns(["update_ratio"]), part)
    found = pd.read_csv(exported(run, tmp_path) / "layers.csv", dtype={"trial_id": str})
    assert list(found.columns) == list(TABLES["layers"])
    lacking = found["trial_id"].isin(rows["trial_id"].to_pylist())
    assert found["update_ratio"].isna().tolist() == lacking.tolist()


def test_a_chosen_trial_brings_its_own_rows(tmp_path: Path) -> None:
    folder = exported(awkward_run(tmp_path), tmp_path, "status == 'failed'")
    for table in ("trials", "steps", "layers"):
        assert pd.read_csv(folder / f"{table}.csv", dtype={"trial_id": str})["trial_id"].unique() == [
            AWKWARD[2].trial_id
        ]


def test_what_was_decided_in_the_plane_is_a_file_where_there_is_such(tmp_path: Path) -> None:
    decided = Decisions(np.array([[0.5, 1 / 3]]), {0: np.array([1])}, np.array([[0.1, -2.0]]), np.array([0]))
    run = make_run(tmp_path, [[FakeTrial("a")]])
    assert not (exported(run, tmp_path) / "regions.csv").exists()
    regions = regions_table([TrialHistory("b", decisions=decided)])
    run.place_part("planar", PartFiles.of(arrow([FakeTrial("b")]) | {"regions": regions}))
    file = exported(run, tmp_path) / "regions.csv"
    assert_same(read_back(file, TABLES["regions"]), stored(run, "regions"))
    assert len(pd.read_csv(file)) == 2


def test_swept_fields_of_all_parts_are_columns(tmp_path: Path) -> None:
    one, two = FakeTrial("a", settings={"model.kwargs.k": 1}), FakeTrial("b", settings={"model.kwargs.k": 0.5})
    file = exported(make_run(tmp_path, [[one], [two], [FakeTrial("c")]]), tmp_path) / "trials.csv"
    assert pd.read_csv(file)["model.kwargs.k"].fillna(-1).tolist() == [1, 0.5, -1]
