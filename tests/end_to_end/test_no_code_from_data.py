"""Only a function that a config names runs: not what lies in data, in a run, in a baseline or in a repository."""

from __future__ import annotations

import json
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.end_to_end.commands import gradlab, invoke, train, write_config

TINY: dict[str, Any] = {
    "data": {"name": "moons", "n_samples": 40},
    "model": {"depth": 2, "width": 4},
    "train": {"steps": 2, "batch_size": 8},
    "seeds": 2,
}
CODE = """
    from pathlib import Path
    import torch
    Path(__file__).with_name("ran").touch()

    def made(**kwargs):
        return None

    def bent(z):
        return torch.tanh(z)
"""
ROUTES: dict[str, dict[str, Any]] = {
    "model": {"model": {"family": "custom", "factory": "own.py:made"}},
    "data": {"data": {"name": "custom", "factory": "own.py:made"}},
    "activation": {"model": {"activation": "own.py:bent"}},
    "swept": {"sweep": {"grid": {"model.activation": ["relu", "own.py:bent"]}}},
    "included": {"sweep": {"grid": {"model.depth": [1]}, "include": [{"model.activation": "own.py:bent"}]}},
    "installed": {"model": {"family": "custom", "factory": "os:system", "kwargs": {"command": "touch ran"}}},
}
HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e<script>alert(1)</script>&\x9b31m"


def command_line(command: str, config: Path, folder: Path) -> list[str | Path]:
    return {
        "run": ["run", config, "--out", folder / "runs"],
        "dry run": ["run", config, "--dry-run"],
        "predict": ["predict", config],
        "check": ["check", config, "--baseline", folder / "baseline.json", "--update", "--force"],
    }[command]


@pytest.mark.parametrize("command", ["run", "dry run", "predict", "check"])
@pytest.mark.parametrize("route", ROUTES)
def test_no_custom_code(route: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, CODE, "own.py")
    config = write_config(
        tmp_path, {key: value for key, value in TINY.items() if key not in ROUTES[route]} | ROUTES[route]
    )
    answer = invoke(*command_line(command, config, tmp_path), "--no-custom-code")
    assert answer.code == 2
    assert f"{config}:" in answer.stderr
    assert "--no-custom-code refuses" in answer.stderr
    assert answer.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "own.py"]


def test_no_custom_code_by_the_command_line(tmp_path: Path) -> None:
    write_config(tmp_path, CODE, "own.py")
    config = write_config(tmp_path, TINY)
    answer = invoke("predict", config, "--no-custom-code", "--set", "model.activation=own.py:bent")
    assert answer.code == 2
    assert "--set model.activation" in answer.stderr
    assert not (tmp_path / "ran").exists()


def test_no_custom_code_leaves_everything_else(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    train(config, tmp_path / "runs", "--no-custom-code")
    assert invoke("predict", config, "--no-custom-code").code == 0


def test_the_code_of_another_revision_is_code(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    answer = invoke("check", config, "--base-ref", "HEAD", "--no-custom-code")
    assert answer.code == 2
    assert "--base-ref runs the code of that revision" in answer.stderr


def test_a_repository_s_settings_run_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, TINY)
    ran = tmp_path / "ran"
    hook = write_config(tmp_path / "hooks", f"#!/bin/sh\ntouch {ran}\n", "post-index-change")
    hook.chmod(0o755)
    for arguments in (
        ["init", "--quiet"],
        ["add", "config.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--message=one"],
        ["config", "core.fsmonitor", f"touch {ran}; false"],
        ["config", "core.hooksPath", str(hook.parent)],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)  # noqa: S603, S607
    config.touch()
    run = train(config, tmp_path / "runs")
    assert len(json.loads((run / "run.json").read_text())["git_commit"].removesuffix("-dirty")) == 40
    assert not ran.exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_nothing_in_a_table_s_metadata_is_unpickled(tmp_path: Path) -> None:
    run = train(write_config(tmp_path, TINY), tmp_path / "runs")
    ran = tmp_path / "ran"
    bomb = pickle.dumps(_Bomb(ran))
    for path in run.glob("*/*.parquet"):
        table = pq.read_table(path)
        extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bomb}
        fields = [field.with_metadata(extension) for field in table.schema]
        schema = pa.schema(fields, {**(table.schema.metadata or {}), b"pandas": bomb, b"pickle": bomb})
        pq.write_table(table.cast(schema), path)
    for arguments in (["compare", run], ["show", run], ["export", run, "--to", "csv", "--out", tmp_path / "csv"]):
        gradlab(*arguments)
    assert not ran.exists()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run whose every string steers a terminal and is HTML."""
    run = train(write_config(tmp_path, TINY), tmp_path / "runs")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(
        json.dumps({key: HOSTILE if isinstance(value, str) else value for key, value in info.items()})
    )
    (part,) = (run / "trials").glob("*.parquet")
    table = pq.read_table(part)
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type) and name not in ("trial_id", "run", "status"):
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array([HOSTILE] * table.num_rows, pa.string()))
    pq.write_table(table, part)
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare"],
        ["compare", "--by", "activation"],
        ["compare", "--json"],
        ["compare", "--format", "markdown"],
        ["show"],
        ["show", "--json"],
    ],
    ids=" ".join,
)
def test_a_run_doesn_t_steer_the_terminal(arguments: list[str], hostile: Path) -> None:
    answer = gradlab(arguments[0], hostile, *arguments[1:], COLUMNS="200")
    assert answer.code == 0, answer.stderr
    told = answer.stdout + answer.stderr
    assert not set("\x1b\x07\x9b") & set(told)
    if "--json" not in arguments:
        assert "\u202e" not in told
