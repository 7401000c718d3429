"""A bit that a disk has flipped is told: never is a damaged file read as other numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlab.store.finding import Skipped
from gradlab.store.part_files import read_part
from gradlab.store.reading import read_trials
from gradlab.store.records import read_records
from gradlab.store.row_groups import encoded
from gradlab.store.rundir import RunDirectory
from gradlab.store.seal import seal_is_broken, sealed
from tests.store.synthetic import TABLES, FakeTrial, make_run

FLIPS = 250
"""Bits that are flipped in each part of each file, one at a time."""


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    trials = [FakeTrial(f"t{n}", n, depth=3, decay=0.5 + 0.01 * n, results={"error": None}) for n in range(12)]
    return make_run(tmp_path, [trials])


def footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def chosen(bits: int) -> np.ndarray:
    """Some of so many bits, always the same."""
    return np.random.default_rng(7).choice(bits, FLIPS, replace=False)


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether tables are equal, NaN being equal to NaN."""
    return one.schema.equals(other.schema) and str(one.to_pydict()) == str(other.to_pydict())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("part", ["pages", "footer"])
def test_no_flipped_bit_makes_other_numbers(run: RunDirectory, table: str, part: str) -> None:
    (path,) = run.parts(table)
    content, whole = path.read_bytes(), read_part(path, table, None)
    assert isinstance(whole, pa.Table)
    edge = footer_start(content)
    bits = chosen(8 * edge) if part == "pages" else 8 * edge + chosen(8 * (len(content) - edge))
    refused = 0
    for bit in bits.tolist():
        path.write_bytes(flipped(content, bit))
        found = read_part(path, table, None)
        if isinstance(found, Skipped):
            refused += 1
            assert str(found).startswith(str(path))
        else:
            assert same(found, whole), bit
    assert refused > FLIPS // 2  # the rest are bits that nobody reads, such as statistics of pages


def test_no_flipped_bit_makes_other_records(run: RunDirectory) -> None:
    (path,) = run.parts("layers")
    content, trials = path.read_bytes(), read_trials([run])
    columns = ("layer", "delta_rms", "log10_delta_rms", "dead_units")
    whole = read_records(trials, "layers", columns, "last", "all")
    for bit in chosen(8 * len(content)).tolist():
        path.write_bytes(flipped(content, bit))
        found = read_records(trials, "layers", columns, "last", "all")
        if not found.skipped:
            for name in columns:
                np.testing.assert_array_equal(found.columns[name], whole.columns[name])
            np.testing.assert_array_equal(found.trial, whole.trial)


def test_the_message_names_the_file_and_what_to_do(run: RunDirectory) -> None:
    (path,) = run.parts("layers")
    content = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(8)
    place = column.data_page_offset + column.total_compressed_size - 3
    for damaged, why in (
        (flipped(content, 8 * place), "is broken"),
        (flipped(content, 8 * footer_start(content) + 800), "is damaged"),
        (content[:-40], "is broken"),
    ):
        path.write_bytes(damaged)
        told = str(read_part(path, "layers", None))
        assert told.startswith(f"{path} {why}")
        assert told.endswith("restore it, or remove it and its part in trials/ and run the config again")


def test_a_part_that_is_removed_as_told_is_written_again(run: RunDirectory) -> None:
    before = {path: path.read_bytes() for table in TABLES for path in run.parts(table)}
    for table in ("layers", "trials"):
        run.parts(table)[0].unlink()
    assert run.finished_trials() == {}
    trials = [FakeTrial(f"t{n}", n, depth=3, decay=0.5 + 0.01 * n, results={"error": None}) for n in range(12)]
    again = make_run(run.path.parent, [trials])
    assert {path: path.read_bytes() for table in TABLES for path in again.parts(table)} == before


def test_other_readers_see_a_plain_parquet_file(run: RunDirectory) -> None:
    for table in TABLES:
        (path,) = run.parts(table)
        ours = read_part(path, table, None)
        assert isinstance(ours, pa.Table)
        assert same(pq.read_table(path).replace_schema_metadata(None), ours)
        pd.testing.assert_frame_equal(pd.read_parquet(run.path / table), ours.to_pandas())


def test_files_without_a_seal_are_read(tmp_path: Path) -> None:
    rows = pa.table({"trial_id": ["a"], "step": [0]})
    pq.write_table(rows, tmp_path / "plain.parquet")
    assert not seal_is_broken(tmp_path / "plain.parquet")
    assert isinstance(read_part(tmp_path / "plain.parquet", "steps", None), pa.Table)


def test_a_seal_changes_nothing_but_its_own_eight_bytes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"trial_id": ["a"], "step": [0]}), stream)
    plain = stream.getvalue()
    with_seal, edge = sealed(plain), footer_start(plain)
    assert with_seal[:edge] + with_seal[edge + 8 :] == plain
    (tmp_path / "one").write_bytes(with_seal)
    assert not seal_is_broken(tmp_path / "one")
    (tmp_path / "one").write_bytes(flipped(with_seal, 8 * (edge + 8)))
    assert seal_is_broken(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1\xff\xff\xff\xffPAR1", b"\x00\x00\x00\x00PAR1", b"x" * 100])
def test_what_is_no_parquet_file_has_no_seal(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert not seal_is_broken(tmp_path / "file")
    assert isinstance(read_part(tmp_path / "file", "steps", None), Skipped)


def test_the_same_rows_make_the_same_bytes() -> None:
    rows = pa.table({"trial_id": ["a", "b"], "step": [0, 1], "train_loss": [0.1, 0.2]})
    assert encoded(rows) == encoded(rows)
