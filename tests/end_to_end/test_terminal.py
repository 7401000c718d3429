"""What a terminal, a pipe and another program see."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.end_to_end.commands import COMMAND, environment, gradlab, write_config
from tests.end_to_end.conftest import Finished

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(columns: int, *arguments: str | Path, **changes: str) -> tuple[int, str]:
    """The command on a terminal so many columns wide: its exit code and all that it shows."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, columns))
    env = environment(TERM="xterm-256color", COLUMNS=str(columns), **changes)
    process = subprocess.Popen([COMMAND, *map(str, arguments)], env=env, stdin=slave, stdout=slave, stderr=slave)  # noqa: S603
    os.close(slave)
    shown, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
    os.close(master)
    return process.wait(10), shown.decode()


def test_a_narrow_terminal_gets_lines_that_fit(finished: Finished) -> None:
    code, shown = on_a_terminal(60, "compare", finished.path)
    assert code == 0
    assert ESCAPE.search(shown), "there is colour on a terminal"
    lines = ESCAPE.sub("", shown).replace("\r", "").split("\n")
    assert max(map(cell_len, lines)) <= 60, max(lines, key=cell_len)
    assert "not shown" in ESCAPE.sub("", shown)
    assert "healthy" in shown


def test_no_color_is_respected(finished: Finished) -> None:
    code, shown = on_a_terminal(100, "show", finished.path, NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", shown), "no colour"


def test_a_progress_bar_on_a_terminal_and_the_table_after_it(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        """
        data: {name: moons, n_samples: 60}
        model: {depth: 2}
        train: {steps: 40, batch_size: 10}
        seeds: 1
        sweep: {grid: {model.width: [4, 5, 6, 7]}}
        """,
    )
    code, shown = on_a_terminal(60, "run", config, "--out", tmp_path / "runs")
    assert code == 0
    plain = ESCAPE.sub("", shown)
    assert "trials stored" in plain
    assert "%" in plain
    assert plain.index("trials stored") < plain.index("diagnosis")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is shown again"


def test_json_is_all_that_stands_on_stdout(finished: Finished) -> None:
    answer = gradlab("run", finished.config, "--out", finished.path.parent, "--json")
    assert answer.code == 0
    assert json.loads(answer.stdout)["path"] == str(finished.path)
    assert "Warning" not in answer.stderr


def test_a_reader_that_has_seen_enough_is_no_error(finished: Finished) -> None:
    """`gradlab run --dry-run --json | head -1`: no traceback, nothing on stderr."""
    config = write_config(finished.config.parent, "seeds: 3000\n", "many.yaml")
    reader, writer = os.pipe()
    process = subprocess.Popen(  # noqa: S603
        [COMMAND, "run", str(config), "--dry-run", "--json"], env=environment(), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert os.read(reader, 1) == b"{"
    os.close(reader)
    _, stderr = process.communicate(timeout=30)
    assert stderr == b""
    assert process.returncode in {0, 141, -signal.SIGPIPE}


@pytest.mark.parametrize("command", [["show"], ["compare"], ["compare", "--json"]], ids=" ".join)
def test_a_closed_pipe_is_no_error(command: list[str], finished: Finished) -> None:
    """Exit code 1 is kept for a regression that `check` found."""
    reader, writer = os.pipe()
    process = subprocess.Popen(  # noqa: S603
        [COMMAND, *command, str(finished.path)], env=environment(), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, stderr = process.communicate(timeout=30)
    assert stderr == b""
    assert process.returncode in {0, 141, -signal.SIGPIPE}
