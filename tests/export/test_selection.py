"""Which trials are exported, each once, and what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gradlab.errors import UsageError
from gradlab.export.selection import Selection, select
from gradlab.store.rundir import RunDirectory
from tests.store.synthetic import FakeTrial, arrow, make_run


def trials_of(rows: list[pa.Table]) -> list[str]:
    return sorted({trial for part in rows for trial in part["trial_id"].to_pylist()})


def test_a_trial_in_two_parts_stands_once(tmp_path: Path) -> None:
    failed = FakeTrial("a", results={"status": "failed"})
    run = make_run(tmp_path, [[FakeTrial("a"), FakeTrial("b")], [failed], [FakeTrial("b", top=1.0)]])
    selection = select(run)
    assert [(row["trial_id"], row["status"]) for row in selection.trials.to_pylist()] == [
        ("a", "completed"),
        ("b", "completed"),
    ]
    (first, second, third) = selection.rows("layers")
    assert (trials_of([first]), trials_of([second]), trials_of([third])) == (["a"], [], ["b"])
    assert max(third["delta_rms"].to_pylist()) > 0.5


def test_unfinished_parts_are_not_seen(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")]])
    (run.path / "trials" / "part-1.parquet").unlink()
    selection = select(run)
    assert selection.trials["trial_id"].to_pylist() == ["a"]
    assert trials_of(list(selection.rows("steps"))) == ["a"]
    assert not selection.skipped


def test_trials_that_finish_in_the_meantime_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[FakeTrial("a")]])
    selection = select(run)
    run.write_part("another", **arrow([FakeTrial("b")]))
    assert trials_of(list(selection.rows("layers"))) == ["a"]


def test_a_part_that_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")], [FakeTrial("c")]])
    run.parts("layers")[1].write_bytes(b"nonsense")
    run.parts("trials")[2].write_bytes(b"nonsense")
    selection = select(run)
    assert trials_of(list(selection.rows("layers"))) == ["a"]
    assert trials_of(list(selection.rows("steps"))) == ["a", "b"]
    assert [(miss.path.parent.name, miss.path.name) for miss in selection.skipped] == [
        ("trials", "part-2.parquet"),
        ("layers", "part-1.parquet"),
    ]


def test_progress_counts_every_part(tmp_path: Path) -> None:
    run = make_run(tmp_path, [[FakeTrial("a")], [FakeTrial("b")]])
    told: list[int] = []
    list(select(run, "trial_id == 'a'").rows("layers", lambda: told.append(1)))
    assert len(told) == len(run.parts("layers"))


@pytest.mark.parametrize(
    ("run", "where", "said"),
    [
        ([], None, "no finished trials yet"),
        ([[FakeTrial("a")]], "depth > 100", "--where depth > 100: none of 1 trials"),
        ([[FakeTrial("a")]], "dpeth > 1", "depth"),
    ],
)
def test_nothing_to_export(run: list[list[FakeTrial]], where: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        select(make_run(tmp_path, run), where)


def test_parts_of_different_sweeps(tmp_path: Path) -> None:
    one, two = FakeTrial("a", settings={"model.kwargs.k": 1}), FakeTrial("b", settings={"model.kwargs.k": "deep"})
    with pytest.raises(UsageError, match=r"one sweep \(.*model.kwargs.k"):
        select(make_run(tmp_path, [[one], [two]]))


def test_conditions_compare_whole_numbers_exactly(tmp_path: Path) -> None:
    run: RunDirectory = make_run(tmp_path, [[FakeTrial("a", seed=3), FakeTrial("b", seed=4)]])
    selection: Selection = select(run, "seed == 4")
    assert selection.trials["seed"].to_pylist() == [4]
