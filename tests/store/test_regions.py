"""What networks decided in the plane, written and read again; and what can't be read is said, not shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradlab.engine.decisions import Decisions
from gradlab.engine.history import TrialHistory
from gradlab.store.reading import Trials, read_trials
from gradlab.store.regions import Region, read_regions
from gradlab.store.row_groups import PartFiles, write_table
from gradlab.store.rundir import RunDirectory
from gradlab.tabulate import regions_table
from tests.store.synthetic import FakeTrial, arrow, make_run

X, Y = [-1.0, 0.5, 2.0], [0.25, 0.75]
CELLS = np.array([[x, y] for y in Y for x in X], np.float32)
BEFORE, AFTER = np.array([0, 1, 2, 2, 1, 0]), np.array([1, 1, 1, 0, 0, 2])
EXAMPLES, CLASSES = np.array([[0.1, 0.2], [0.3, -0.4]], np.float32), np.array([1, 0])


def history(trial_id: str, **decided: Any) -> TrialHistory:
    by_step = {int(step.removeprefix("at_")): classes for step, classes in decided.items()}
    return TrialHistory(trial_id, decisions=Decisions(CELLS, by_step, EXAMPLES, CLASSES))


def written(folder: Path, histories: list[TrialHistory]) -> RunDirectory:
    run = make_run(folder, [])
    regions = regions_table(histories)
    tables = arrow([FakeTrial(one.trial_id) for one in histories])
    run.place_part("part", PartFiles.of(tables if regions is None else tables | {"regions": regions}))
    return run


def regions(run: RunDirectory, ids: list[str] | None = None) -> tuple[list[Region], str]:
    trials: Trials = read_trials([run])
    if ids is not None:
        trials = trials.where(trials.frame["trial_id"].isin(ids).to_numpy())
    found, skipped = read_regions(trials)
    return found, "".join(str(one) for one in skipped)


def test_what_was_decided_comes_back_as_a_grid(tmp_path: Path) -> None:
    found, skipped = regions(written(tmp_path, [history("a", at_0=BEFORE, at_21=AFTER), history("b", at_0=AFTER)]))
    assert not skipped
    assert [(one.trial, one.step) for one in found] == [(0, 0), (0, 21), (1, 0)]
    np.testing.assert_array_equal(found[0].decided, [[0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(found[1].decided, [[1, 1, 1], [0, 0, 2]])
    np.testing.assert_allclose(found[0].x, X)
    np.testing.assert_allclose(found[0].y, Y)
    np.testing.assert_allclose(found[2].examples, EXAMPLES)
    np.testing.assert_array_equal(found[2].classes, CLASSES)


def test_of_chosen_trials_alone(tmp_path: Path) -> None:
    found, _ = regions(written(tmp_path, [history("a", at_0=BEFORE), history("b", at_0=AFTER)]), ["b"])
    assert [one.trial for one in found] == [0]
    np.testing.assert_array_equal(found[0].decided.ravel(), AFTER)


def test_without_two_features_there_is_no_table(tmp_path: Path) -> None:
    run = written(tmp_path, [replace(history("a"), decisions=None)])
    assert not (run.path / "regions").exists()
    assert regions(run) == ([], "")


@pytest.mark.parametrize(
    ("column", "value"), [("x", float("nan")), ("y", float("inf")), ("class", None), ("x", -1.0), ("kind", None)]
)
def test_what_is_no_grid_is_said(tmp_path: Path, column: str, value: Any) -> None:
    run = written(tmp_path, [history("a", at_0=BEFORE)])
    path = run.path / "regions" / "part.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[next(place for place, row in enumerate(rows) if row["x"] == X[1])][column] = value
    write_table(path, pq.read_table(path).from_pylist(rows, schema=pq.read_schema(path)))
    found, skipped = regions(run)
    assert found == []
    assert "part.parquet" in skipped


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    run = written(tmp_path, [history("a", at_0=BEFORE)])
    path = run.path / "regions" / "part.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found, skipped = regions(run)
    assert found == []
    assert "part.parquet" in skipped


def test_a_part_left_without_its_regions_gets_them(tmp_path: Path) -> None:
    run = written(tmp_path, [history("a", at_0=BEFORE)])
    whole = (run.path / "regions" / "part.parquet").read_bytes()
    for table in ("regions", "trials"):
        (run.path / table / "part.parquet").unlink()
    written_again = PartFiles.of(arrow([FakeTrial("a")]) | {"regions": regions_table([history("a", at_0=BEFORE)])})
    run.place_part("part", written_again)
    assert (run.path / "regions" / "part.parquet").read_bytes() == whole
