"""`gradlab compare` as a user types it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.commands import invoke
from tests.store.synthetic import FakeTrial, make_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs: `old` with depths 2 and 3, `new` with depths 3 and 4 and half the decay."""
    for name, depths, decay in (("old", (2, 3), 0.6), ("new", (3, 4), 0.3)):
        trials = [
            FakeTrial(
                f"{name}{depth}{seed}", seed, depth=depth, decay=decay * (1 + 0.01 * seed), settings={"lr": decay}
            )
            for depth in depths
            for seed in range(4)
        ]
        make_run(tmp_path / "runs", [trials], name)
    return tmp_path / "runs"


def test_every_format_goes_to_stdout_and_notes_to_stderr(folder: Path) -> None:
    (folder / "notes").mkdir()
    for name, read in {"json": json.loads, "csv": lambda text: list(csv.DictReader(io.StringIO(text)))}.items():
        answer = invoke("compare", folder, "--format", name)
        assert answer.code == 0
        assert read(answer.stdout)
        assert "notes is no run directory" in answer.stderr
    assert invoke("compare", folder, "--json").stdout == invoke("compare", folder, "--format", "json").stdout
    assert invoke("compare", folder, "--format", "markdown").stdout.startswith("## Groups\n\n| depth |")
    assert invoke("compare", folder, "--quiet").stderr == ""


def test_two_directories_are_set_side_by_side(folder: Path) -> None:
    old, new = folder / "old-01234567", folder / "new-01234567"
    answer = invoke("compare", old, new)
    assert "old-01234567 → new-01234567" in answer.stdout
    assert "lr: 0.6 → 0.3" in answer.stdout
    assert "gradient decay 0.500x" in answer.stdout
    assert "only in old-01234567: depth=2" in answer.stdout
    assert "only in new-01234567: depth=4" in answer.stdout
    found = json.loads(invoke("compare", old, new, "--json").stdout)
    assert [run["run"] for run in found["runs"]] == ["old-01234567", "new-01234567"]
    assert found["against"][0]["reference"] == "old-01234567"


def test_two_runs_without_a_common_network_are_listed_together(tmp_path: Path) -> None:
    one = make_run(tmp_path, [[FakeTrial("a", depth=2), FakeTrial("b", depth=3)]], "one").path
    two = make_run(tmp_path, [[FakeTrial("c", depth=4), FakeTrial("d", depth=5)]], "two").path
    answer = invoke("compare", one, two)
    assert answer.code == 0
    assert [line.split()[0] for line in answer.stdout.splitlines()[3:7]] == ["2", "3", "4", "5"]


def test_a_reference_in_the_folder_or_outside_it(folder: Path) -> None:
    inside = invoke("compare", folder, "--against", folder / "old-01234567")
    outside = invoke("compare", folder / "new-01234567", "--against", folder / "old-01234567")
    assert inside.code == outside.code == 0
    assert inside.stdout.splitlines()[:8] == outside.stdout.splitlines()[:8]
    alone = invoke("compare", folder / "old-01234567", "--against", folder / "old-01234567")
    assert alone.code == 2
    assert "no other run" in alone.stderr


def test_what_cannot_be_read_is_named_and_strict_makes_it_an_error(folder: Path) -> None:
    part = folder / "new-01234567" / "layers" / "part-0.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    answer = invoke("compare", folder)
    assert answer.code == 0
    assert f"note: {part} is broken or no Parquet file" in answer.stderr
    strict = invoke("compare", folder, "--strict")
    assert (strict.code, strict.stdout) == (2, "")
    assert str(part) in strict.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "depht > 2"], "did you mean depth?"),
        (["--where", "depth > 100"], "none of 16 trials"),
        (["--by", "widht"], "did you mean width?"),
        (["--metric", "final_eval_los"], "did you mean final_eval_loss"),
        (["--sort", "decai"], "did you mean decay"),
        (["--step", "second"], "give first, last or the number of a step"),
        (["--step", "7"], "the nearest recorded are 0, 20"),
        (["--top", "0"], "--top"),
        (["--against", "nowhere"], "nowhere does not exist"),
        (["--format", "xml"], "--format"),
        (["--by", ""], "--by: a name is missing"),
        (["--sort", "depth,-"], "--sort: a name is missing"),
        (["--json", "--format", "csv"], "give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_get_one_message_and_exit_code_2(folder: Path, options: list[str], said: str) -> None:
    answer = invoke("compare", folder, *options)
    assert (answer.code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.stderr


def test_what_no_table_can_hold_is_named_and_no_trials_at_all_are_an_error(folder: Path) -> None:
    part = folder / "new-01234567" / "trials" / "part-0.parquet"
    frame = pd.read_parquet(part)
    frame.assign(extra=[{"a": 1}] * len(frame)).to_parquet(part)
    answer = invoke("compare", folder)
    assert answer.code == 0
    assert "extra: more than one value in a cell" in answer.stderr
    alone = invoke("compare", folder / "new-01234567")
    assert (alone.code, alone.stdout) == (2, "")
    assert str(part) in alone.stderr


def test_groups_are_sorted_by_any_statistic(folder: Path) -> None:
    answer = invoke("compare", folder, "--sort=-weight_grad_norm.first", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    norms = [float(row["first_grad_norm"]) for row in rows]
    assert norms == sorted(norms, reverse=True)


def test_options_that_hold_several_values(folder: Path) -> None:
    commas = invoke("compare", folder, "--by", "depth,lr", "--metric", "final_*_loss,dead_fraction", "--sort=-lr,depth")
    repeated = ["--by", "depth", "--by", "lr", "--metric", "final_*_loss", "--metric", "dead_fraction"]
    assert commas.stdout == invoke("compare", folder, *repeated, "--sort=-lr", "--sort", "depth").stdout
    assert [line.split()[:2] for line in commas.stdout.splitlines()[2:6]] == [
        ["2", "0.6"],
        ["3", "0.6"],
        ["3", "0.3"],
        ["4", "0.3"],
    ]
