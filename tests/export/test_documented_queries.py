"""Every query of docs/tables.md runs as it stands there, and gives what plain numpy gives."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "runs" / "example-b5f9bc42"

Rows = list[dict[str, Any]]


def documented() -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """What comes before the queries, and heading -> (language, code) of its blocks."""
    text = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").split("\n## `gradlab export`")[0]
    before, *sections = re.split(r"^### ", text, flags=re.MULTILINE)
    blocks = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    setup = "\n".join(code for _, code in blocks.findall(before))
    return setup, {section.splitlines()[0]: blocks.findall(section) for section in sections}


SETUP, QUERIES = documented()


def evaluate(code: str, names: dict[str, Any]) -> Any:
    """The value of a block's last line, as an interactive session would show it."""
    *lines, last = ast.parse(code).body
    exec(compile(ast.Module(lines, []), "docs/tables.md", "exec"), names)  # noqa: S102
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "docs/tables.md", "eval"), names)  # noqa: S307


def table(name: str) -> Rows:
    """A table as plain rows, each part read by itself."""
    return [row for part in sorted((RUN / name).glob("*.parquet")) for row in pq.ParquetFile(part).read().to_pylist()]


TRIALS = {trial["trial_id"]: trial for trial in table("trials")}
STEPS, LAYERS = table("steps"), table("layers")
FIRST = [row for row in LAYERS if row["layer"] == 1]


def by_network(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    """Rows of one value of each name together, a name being a column of theirs or of their trial's."""
    groups: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in rows:
        groups[tuple((TRIALS[row["trial_id"]] | row)[name] for name in names)].append(row)
    return groups


def first_layer() -> Rows:
    groups = by_network([row for row in FIRST if row["step"] == 0], "depth", "activation")
    return [
        {
            "depth": depth,
            "activation": activation,
            "log10_weight_grad_norm": np.mean([np.log10(row["weight_grad_norm"]) for row in rows]),
        }
        for (depth, activation), rows in groups.items()
    ]


def last_against_first() -> Rows:
    found = []
    for (trial,), rows in by_network(FIRST, "trial_id").items():
        at = {row["step"]: row["weight_grad_norm"] for row in rows}
        found.append({"trial_id": trial, "change": np.log10(at[max(at)]) - np.log10(at[min(at)])})
    return found


def way_back() -> Rows:
    return [{"trial_id": name, "log10_delta_rms": np.log10(row["gradient_ratio"])} for name, row in TRIALS.items()]


def dead_units() -> Rows:
    hidden = [row for row in LAYERS if row["layer"] <= TRIALS[row["trial_id"]]["depth"]]
    return [
        {"activation": activation, "step": step, "dead": np.mean([row["dead_units"] / 64 for row in rows])}
        for (activation, step), rows in by_network(hidden, "activation", "step").items()
    ]


def side_by_side() -> Rows:
    losses = {(row["trial_id"], row["step"]): row["train_loss"] for row in STEPS}
    columns = ("trial_id", "step", "log10_weight_grad_norm")
    return [
        {name: row[name] for name in columns} | {"train_loss": losses[row["trial_id"], row["step"]]} for row in FIRST
    ]


def several_runs() -> Rows:
    diagnoses = [(trial["run"], trial["diagnosis"]) for trial in TRIALS.values()]
    return [
        {"run": run, "diagnosis": diagnosis, "size": diagnoses.count((run, diagnosis))}
        for run, diagnosis in set(diagnoses)
    ]


ORACLES: dict[str, Callable[[], Rows]] = {
    "The first layer's gradient by depth and activation": first_layer,
    "The last record against the first": last_against_first,
    "How far the gradient shrinks on its way back": way_back,
    "Dead units over time": dead_units,
    "Loss and gradient side by side": side_by_side,
    "Several runs at once": several_runs,
}


def in_order(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    keys = [name for name in columns if not pd.api.types.is_float_dtype(rows[name])]
    return rows[columns].sort_values(keys, ignore_index=True)


def test_every_documented_query_has_an_oracle_and_three_dialects() -> None:
    assert list(QUERIES) == list(ORACLES)
    for blocks in QUERIES.values():
        assert [language for language, _ in blocks] == ["python", "python", "sql"]


@pytest.mark.parametrize("heading", QUERIES)
def test_a_query_gives_what_numpy_gives_in_every_dialect(heading: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wanted = pd.DataFrame(ORACLES[heading]())
    columns = sorted(wanted.columns)
    (_, pandas_code), (_, polars_code), (_, sql) = QUERIES[heading]
    names: dict[str, Any] = {}
    exec(SETUP, names)  # noqa: S102
    with_pandas, with_polars = evaluate(pandas_code, names), evaluate(polars_code, names)
    assert isinstance(with_polars, pl.DataFrame)
    for found in (with_pandas, pd.DataFrame(with_polars.to_dict(as_series=False)), duckdb.sql(sql).df()):
        assert sorted(found.columns) == columns
        pd.testing.assert_frame_equal(
            in_order(found, columns), in_order(wanted, columns), check_dtype=False, rtol=1e-9, atol=1e-12
        )


def test_the_queries_look_at_something() -> None:
    assert len(first_layer()) == 12
    assert any(row["dead"] > 0 for row in dead_units())
    assert max(abs(row["change"]) for row in last_against_first()) > 0.5
    assert min(row["log10_delta_rms"] for row in way_back()) < -14


def test_the_libraries_import_without_a_word() -> None:
    program = "import duckdb, polars; from gradlab.export import tensorboard"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
