"""Watched trainings in other tools' formats: rows of every kind, from several files, none in place of another."""

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradlab.export.comma_separated import write_csv
from gradlab.export.selection import select
from gradlab.export.tensorboard import LAYER_STATISTICS, write_tensorboard
from tests.store.watched_runs import WatchedTrial, make_watched, recurrent

ROWS = (("rnn", "layer", 1), *(("rnn", "time", step) for step in (1, 2, 3)), ("rnn", "layer", 2), ("ln", "norm", 2),
        ("head", "layer", 3))  # fmt: skip
"""A time step that has the number and the name of a layer."""

TRAININGS = (
    WatchedTrial("a", rows=ROWS, files=((0, 10), (20,), (30, 40)), settings={"steps": None}),
    WatchedTrial("b", 1, recurrent(4), settings={"steps": None}),
)


@pytest.fixture
def selection(tmp_path):
    return select(make_watched(tmp_path / "run", TRAININGS).directory)


def test_csv_has_every_row_with_its_kind(selection, tmp_path):
    write_csv(selection.trials, selection.rows, tmp_path)
    for table in ("layers", "steps"):
        found = pd.read_csv(tmp_path / f"{table}.csv", dtype={"trial_id": str})
        expected = pd.read_parquet(selection.run.path / table)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def test_tensorboard_has_every_number_under_a_tag_of_its_own(selection, tmp_path):
    (tmp_path / "board").mkdir()
    write_tensorboard(selection.trials, selection.rows, tmp_path / "board", 0.0)
    tables = {table: pd.read_parquet(selection.run.path / table) for table in ("layers", "steps")}
    for training in TRAININGS:
        (folder,) = (tmp_path / "board").glob(f"*seed={training.seed},*")
        log = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        tags = {tag: log.Scalars(tag) for tag in log.Tags()["scalars"]}
        own = tables["layers"][tables["layers"]["trial_id"] == training.trial_id]
        told = own[list(LAYER_STATISTICS)].notna().to_numpy().sum()
        found = {tag: events for tag, events in tags.items() if tag.split("/")[0] in LAYER_STATISTICS}
        assert sum(len(events) for events in found.values()) == told
        for events in tags.values():
            steps = [event.step for event in events]
            assert steps == sorted(set(steps))
        for (kind, layer, name), rows in own.groupby(["kind", "layer", "name"]):
            label = f"time {layer:03d} {name}" if kind == "time" else f"{layer:02d} {name}"
            values = [event.value for event in found[f"log10_delta_rms/{label}"]]
            assert values == pytest.approx(rows["log10_delta_rms"].tolist(), rel=1e-6)
        (end,) = tags["result/final_eval_loss"]
        assert end.step == max(step for steps in training.files for step in steps) + 1
