"""Run directories from somebody else, or damaged: every command that reads them ends in good order, whatever they hold.

That is: no traceback, an exit code by the contract, a message that names the file, and nothing written but what was
asked for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradlab.store.tables import TABLES
from tests.end_to_end.commands import Answer, invoke, train, write_config

pytestmark = pytest.mark.slow  # a hundred and fifty runs, each read by every command

CONFIG = {
    "name": "victim",
    "seeds": 9,
    "data": {"name": "moons", "n_samples": 40},
    "model": {"width": 4},
    "train": {"steps": 3, "batch_size": 8},
    "sweep": {"grid": {"model.depth": [2, 3]}},
}

EVIL = "\x1b[31mred\x1b]0;title\x07[bold]x[/bold][/]<script>alert(1)</script>\n\r\x00"

Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Template:
    """A good run, its config and its baseline."""

    run: Path
    config: Path
    baseline: Path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("template")
    config = write_config(folder, CONFIG)
    run = train(config, folder / "runs", "--workers", "1")
    baseline = folder / "baseline.json"
    assert invoke("check", run, "--baseline", baseline, "--update", "--force").code == 0
    return Template(run, config, baseline)


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in a folder with something in it that must stay as it is."""
    (tmp_path / "around" / "sandbox").mkdir(parents=True)
    (tmp_path / "around" / "canary").write_text("untouched")
    monkeypatch.chdir(tmp_path / "around" / "sandbox")
    return tmp_path / "around" / "sandbox"


def answers(template: Template, sandbox: Path, damage: Damage) -> Iterator[tuple[str, Answer]]:
    """Every command on a damaged copy of the run, each with what it came to."""
    shutil.rmtree(sandbox)
    sandbox.mkdir()
    run = sandbox / "out" / template.run.name
    shutil.copytree(template.run, run)
    damage(run)
    before = _listing(sandbox.parent)
    commands: list[tuple[str, list[Any]]] = [
        ("compare", [run]),
        ("compare json", [run, "--json"]),
        ("compare layers", [run, "--layers", "--step", "last", "--format", "csv"]),
        ("compare side by side", [run, template.run, "--metric", "*", "--format", "markdown"]),
        ("report", [run, "--output", sandbox / "report.html"]),
        ("show", [run]),
        ("show json", [run, "--json"]),
        ("export csv", [run, "--to", "csv", "--out", sandbox / "csv"]),
        ("export tensorboard", [run, "--to", "tensorboard", "--out", sandbox / "board"]),
        ("check", [run, "--baseline", template.baseline]),
        ("check update", [run, "--baseline", sandbox / "new.json", "--update", "--force"]),
        ("run", [template.config, "--out", sandbox / "out", "--quiet", "--workers", "1"]),
    ]
    for name, arguments in commands:
        yield name, invoke(name.split()[0], *arguments)
    made = {name: content for name, content in _listing(sandbox.parent).items() if before.get(name) != content}
    allowed = ("sandbox/out", "sandbox/csv", "sandbox/board", "sandbox/new.json", "sandbox/report.html")
    assert [name for name in made if name != "sandbox" and not name.startswith(allowed)] == []
    assert before.keys() <= _listing(sandbox.parent).keys() | {
        name for name in before if name.startswith("sandbox/out")
    }


def _listing(folder: Path) -> dict[str, int]:
    """Every path below a folder, and when it was changed."""
    return {path.relative_to(folder).as_posix(): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def check_good_order(template: Template, sandbox: Path, damage: Damage) -> dict[str, Answer]:
    """Run every command; `invoke` raises whatever would be a traceback."""
    found = dict(answers(template, sandbox, damage))
    for name, answer in found.items():
        assert answer.code in (0, 1, 2, 3, 4, 5), (name, answer)
        assert answer.code != 3 or name == "check", (name, answer)
        assert answer.code != 1 or (name == "check" and "regression" in answer.stdout), (name, answer)
        assert "Traceback" not in answer.stderr
        assert "Warning:" not in answer.stderr, (name, answer.stderr)
        if answer.code in (2, 5):
            assert answer.stderr.startswith("error: ") or "config.yaml:" in answer.stderr, (name, answer)
        if name.endswith("json") and answer.code == 0:
            json.loads(answer.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return found


def text(name: str, content: str | bytes) -> Damage:
    def damage(run: Path) -> None:
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(run: Path) -> None:
        for path in (run / name).glob("*.parquet"):
            pq.write_table(change(pq.read_table(path, partitioning=None)), path)

    return damage


def cells(name: str, column: str, value: Any, kind: pa.DataType | None = None) -> Damage:
    """One value in a whole column."""

    def change(rows: pa.Table) -> pa.Table:
        array = pa.array([value] * rows.num_rows, kind)
        place = rows.schema.get_field_index(column)
        return rows.append_column(column, array) if place < 0 else rows.set_column(place, column, array)

    return table(name, change)


def renamed(rows: pa.Table) -> pa.Table:
    """A second column of the name of the first."""
    return pa.Table.from_arrays([*rows.columns, rows.column(0)], names=[*rows.column_names, rows.column_names[0]])


def raw_text(column: str) -> Callable[[pa.Table], pa.Table]:
    """Bytes that are no UTF-8 in a column of texts."""

    def change(rows: pa.Table) -> pa.Table:
        offsets = pa.py_buffer(b"".join((2 * n).to_bytes(4, "little") for n in range(rows.num_rows + 1)))
        array = pa.StringArray.from_buffers(rows.num_rows, offsets, pa.py_buffer(b"\xff\xfe" * rows.num_rows))
        return rows.set_column(rows.schema.get_field_index(column), column, array)

    return change


def special(name: str, make: Callable[[Path], object]) -> Damage:
    def damage(run: Path) -> None:
        target = next(run.glob(name))
        target.unlink()
        make(target)

    return damage


REFUSED: dict[str, Damage] = {
    "run.json: version inf": text("run.json", '{"schema_version": 1e999}'),
    "run.json: version NaN": text("run.json", '{"schema_version": NaN}'),
    "run.json: version of a list": text("run.json", '{"schema_version": [1]}'),
    "run.json: newer version": text("run.json", '{"schema_version": 2}'),
    "run.json: long version": text("run.json", '{"schema_version": ' + "9" * 4000 + "}"),
    "trials: newer version": table(
        "trials", lambda rows: rows.replace_schema_metadata({b"gradlab.schema_version": b"2"})
    ),
    **{
        f"{name}: {what}": table(name, change)
        for name in TABLES
        for what, change in {
            "a column twice": renamed,
            "nested ids": lambda rows: rows.set_column(0, "trial_id", pa.array([["a"]] * rows.num_rows)),
            "one column": lambda rows: rows.select(["trial_id"]),
            "ids that are no text": raw_text("trial_id"),
        }.items()
    },
    **{f"{name}: {what}": cells(name, "trial_id", value, pa.string())
       for name in TABLES for what, value in {"no ids": None, "empty ids": ""}.items()},
    **{f"{name}: {what}": cells(name, column, value)
       for name, column in (("steps", "step"), ("layers", "step"), ("layers", "layer"))
       for what, value in {f"{column} -1": -1, f"{column} 2^40": 2**40, f"{column} of text": "x"}.items()},
    "layers: no layer": cells("layers", "layer", None, pa.int64()),
    "layers: no step": cells("layers", "step", None, pa.int64()),
    "layers: text for a number": cells("layers", "log10_delta_rms", "x"),
    "trials: text for a number": cells("trials", "depth", "x"),
    "trials: a binary column": cells("trials", "more", b"\xff\xfe"),
    "trials: a million and one": table("trials", lambda rows: rows.take(pa.array([0] * 1_000_001))),
    "trials: a trial twice": table("trials", lambda rows: pa.concat_tables([rows, rows])),
    **{f"{name}: {what}": special(f"{name}/*.parquet", make)
       for name in TABLES
       for what, make in {
           "a pipe": os.mkfifo,
           "a device": lambda path: path.symlink_to("/dev/zero"),
           "a folder": Path.mkdir,
           "a link in a circle": lambda path: path.symlink_to(path),
           "nothing": lambda path: path.write_bytes(b""),
           "no Parquet": lambda path: path.write_bytes(b"PAR1 and more" * 99),
       }.items()},
}  # fmt: skip
"""What can't be read, or only in part: whoever needs it says so."""

TAKEN: dict[str, Damage] = {
    "run.json: empty": text("run.json", ""),
    "run.json: NUL bytes": text("run.json", "\0" * 9),
    "run.json: a list": text("run.json", "[]"),
    "run.json: deep": text("run.json", "[" * 100_000),
    "run.json: deep in a fact": text("run.json", '{"torch": ' + "[" * 500 + "]" * 500 + "}"),
    "run.json: UTF-16": text("run.json", "é".encode("utf-16")),
    "run.json: other types": text(
        "run.json", '{"recording": "x", "metrics": 5, "notes": [1], "code": [1], "start": [], "end": {}}'
    ),
    "run.json: other types inside": text(
        "run.json",
        '{"schema_version": 1, "recording": {"training_seconds": "x"}, "metrics": {"moons": 3}, "notes": {"a": 5}, '
        '"weight_prints": {"a": ["x"]}, "code": {"a": [1]}, "watched": {"x": 1}}',
    ),
    "run.json: no seconds": text("run.json", '{"recording": {"training_seconds": null, "recording_seconds": null}}'),
    "run.json: numbers without an end": text(
        "run.json",
        '{"recording": {"training_seconds": 1e999, "recording_seconds": NaN}, "threads": ' + "9" * 400 + "}",
    ),
    "run.json: half a character": text("run.json", '{"torch": "\\ud800", "\\udfff": 1, "device": "[red]x[/]"}'),
    "run.json: start of no calendar": text("run.json", '{"start": "0001-01-01T00:00:00+14:00"}'),
    "run.json: escape sequences": text("run.json", json.dumps({"torch": EVIL, EVIL: 1, "device": "[/]"})),
    "run.json: a pipe": special("run.json", os.mkfifo),
    "run.json: a device": special("run.json", lambda path: path.symlink_to("/dev/zero")),
    "run.json: a folder": special("run.json", Path.mkdir),
    "steps: an empty table": table("steps", lambda rows: rows.slice(0, 0)),
    "layers: an empty table": table("layers", lambda rows: rows.slice(0, 0)),
    "layers: rows twice": table("layers", lambda rows: pa.concat_tables([rows, rows])),
    "trials: metadata of pandas": table(
        "trials", lambda rows: rows.replace_schema_metadata({b"pandas": b"{broken", b"ARROW:schema": b"x"})
    ),
    "trials: odd types": table(
        "trials",
        lambda rows: rows.append_column("decimal", pa.array([1] * rows.num_rows, pa.decimal128(38, 2)))
        .append_column("time", pa.array([0] * rows.num_rows, pa.timestamp("ns")))
        .append_column("words", pa.array(["a"] * rows.num_rows).dictionary_encode())
        .append_column("nothing", pa.nulls(rows.num_rows)),
    ),
    **{f"trials: evil {column}": cells("trials", column, EVIL)
       for column in ("run", "data", "family", "activation", "init", "status", "error", "diagnosis", EVIL)},
    **{f"trials: {column} {value}": cells("trials", column, value, kind)
       for column, value, kind in (
           ("seed", 2**62, None), ("seed", -1, None), ("seed", None, pa.int64()), ("depth", -5, None),
           ("depth", 2**40, None), ("depth", None, pa.int64()), ("lr", float("inf"), None),
           ("steps", None, pa.int64()), ("steps", 2**62, None), ("status", None, pa.string()), ("status", "odd", None),
           ("diagnosis", None, pa.string()), ("gradient_decay", float("inf"), None),
           ("gradient_ratio", float("nan"), None), ("final_eval_metric", 1e308, None), ("diverged_step", 2**62, None),
           ("activation", "../../../evil", None), ("activation", "x" * 100_000, None),
       )},
    **{f"layers: {column} {value}": cells("layers", column, value, kind)
       for column, value, kind in (
           ("layer", 10**9, None), ("name", EVIL, None), ("name", None, pa.string()), ("units", -1, None),
           ("units", 0, None), ("units", None, pa.int64()), ("weight_count", None, pa.int64()),
           ("weight_grad_norm", float("nan"), None), ("weight_grad_norm", -1.0, None),
           ("log10_delta_rms", float("inf"), None), ("log10_delta_rms", 1e308, None),
           ("log10_delta_rms", -1e308, None), ("delta_rms", float("inf"), None), ("saturated_fraction", 7.0, None),
           ("dead_units", 2**40, None), ("kind", EVIL, None), ("kind", "time", None), ("kind", "norm", None),
           ("step", 10**9, None),
       )},
    "config.yaml: a tag": text("config.yaml", "check: !!python/object/apply:os.system [exit]\n"),
}  # fmt: skip
"""What is odd and can be read: commands may take it or not."""

CONFIGS: dict[str, str | bytes] = {
    "deep": "check: " + "[" * 20_000,
    "alias bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "check: *j\n",
    "code": "check: !!python/object/apply:os.system [exit]\n",
    "another type": "check: [1]\n",
    "a list": "[check]",
    "unknown key": "check: {gain: 1}\n",
    "out of range": "check: {delta_rms: -1}\n",
    "not UTF-8": b"check: {delta_rms: \xff}\n",
    "NUL": "check: \0\n",
    "large": "#" * 2**22,
}
"""What config.yaml may be where `check` looks for its section."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_file(template: Template, sandbox: Path, name: str) -> None:
    found = check_good_order(template, sandbox, REFUSED[name])
    folder = name.split(":")[0]
    alone = {*found} - {"compare side by side"}
    needs = {
        "run.json": alone,
        "trials": alone - {"run"},
        "steps": set(),
        "layers": {"check", "check update"},
        "regions": set(),
    }[folder]
    for command in needs:
        assert found[command].code == 2, (command, found[command])
    told = {command for command, answer in found.items() if folder in answer.stderr or folder == "run.json"}
    if folder == "regions":
        assert "report" in told
        return
    everywhere = {"compare", "compare json", "compare layers", "compare side by side", "show", "show json", "check"}
    assert told >= {"export csv", "export tensorboard", *(everywhere if folder != "steps" else ())}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_odd_ends_in_good_order(template: Template, sandbox: Path, name: str) -> None:
    check_good_order(template, sandbox, TAKEN[name])


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS)
def test_a_check_reads_the_config_of_a_run_with_care(template: Template, sandbox: Path, content: str | bytes) -> None:
    run = sandbox / "run"
    shutil.copytree(template.run, run)
    text("config.yaml", content)(run)
    answer = invoke("check", run, "--baseline", template.baseline)
    assert answer.code == 2
    assert str(run / "config.yaml") in answer.stderr


@pytest.mark.parametrize(
    "trial_id", ["../../../evil", "/evil", "..", ".", "a/b", "x" * 5000, EVIL, " ", "-rf", "nul\0"]
)
def test_ids_are_never_paths(template: Template, sandbox: Path, trial_id: str) -> None:
    def change(rows: pa.Table) -> pa.Table:
        known = {old: f"{trial_id}{n}" for n, old in enumerate(sorted(set(rows["trial_id"].to_pylist())))}
        return rows.set_column(0, "trial_id", pa.array([known[old] for old in rows["trial_id"].to_pylist()]))

    def damage(run: Path) -> None:
        for name in TABLES:
            table(name, change)(run)

    found = check_good_order(template, sandbox, damage)
    assert found["export tensorboard"].code == 0, found["export tensorboard"]
    assert found["run"].code == 2
    assert "holds other trials" in found["run"].stderr


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir, lambda path: path.write_bytes(b"\xff")],
    ids=["pipe", "device", "folder", "no text"],
)
def test_a_baseline_is_a_file_of_text(template: Template, sandbox: Path, make: Callable[[Path], object]) -> None:
    make(sandbox / "baseline.json")
    for target in (template.run, template.config):
        answer = invoke("check", target, "--baseline", sandbox / "baseline.json")
        assert answer.code == 3
        assert str(sandbox / "baseline.json") in answer.stderr
        assert "--update" in answer.stderr
    answer = invoke("check", template.run, "--baseline", sandbox / "baseline.json", "--update", "--force")
    assert answer.code == 2
    assert str(sandbox / "baseline.json") in answer.stderr


KINDS: tuple[tuple[pa.DataType, st.SearchStrategy[Any]], ...] = (
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=5) | st.sampled_from(["layer", "time", "norm", "failed", "completed", EVIL])),
    (pa.large_string(), st.text(max_size=5)),
    (pa.binary(), st.binary(max_size=5)),
    (pa.dictionary(pa.int32(), pa.string()), st.text(max_size=3)),
    (pa.decimal128(38, 2), st.decimals(-(10**9), 10**9, places=2)),
    (pa.date32(), st.integers(-(10**6), 10**6)),
    (pa.timestamp("us"), st.integers(-(2**62), 2**62)),
    (pa.duration("us"), st.integers(-(2**62), 2**62)),
    (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=2)),
    (pa.struct([("x", pa.int64())]), st.just({"x": 1})),
    (pa.null(), st.none()),
)


@st.composite
def tables(draw: st.DrawFn, name: str) -> pa.Table:
    """Rows with the columns of a table, of any types, some missing, some more than once, and others beside them."""
    own = list(TABLES[name].items())
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from([column for column, _ in own]), max_size=len(own), unique=True))
    names += draw(st.lists(st.text(max_size=4) | st.sampled_from(["trial_id", "step", "more"]), max_size=2))
    keys = [column for column in ("trial_id", "seed", "status", "step", "layer") if column in TABLES[name]]
    if draw(st.integers(0, 4)):
        names += [column for column in keys if column not in names]
    arrays = []
    for column in names:
        declared = TABLES[name].get(column)
        fitting = [pair for pair in KINDS if pair[0] == declared]
        kind, values = draw(st.sampled_from([*fitting * 20, *KINDS]))
        cells = st.lists(values | st.none() if draw(st.booleans()) else values, min_size=rows, max_size=rows)
        arrays.append(pa.array(draw(cells), kind))
    return pa.Table.from_arrays(arrays, names=names)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.sampled_from(list(TABLES)).flatmap(lambda name: st.tuples(st.just(name), tables(name))))
def test_any_table_ends_in_good_order(template: Template, sandbox: Path, case: tuple[str, pa.Table]) -> None:
    name, rows = case

    def damage(run: Path) -> None:
        pq.write_table(rows, next((run / name).glob("*.parquet")))

    check_good_order(template, sandbox, damage)
