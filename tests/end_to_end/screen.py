"""A terminal in a few lines: what stands on it after all that a program wrote."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

from rich.cells import cell_len

from tests.end_to_end.commands import COMMAND, environment

_PIECE = re.compile(
    r"\x1b\[(?P<how>\?25|[0-9;]*)(?P<what>[A-Za-z])|(?P<text>[^\x00-\x1f]+)|(?P<control>[\r\n])|(?P<odd>.)"
)

_BEGUN = re.compile(r"(\x1b[^A-Za-z]*|)$")
"""A sequence that a piece of output ends in the middle of."""


class Screen:
    """Understands what a picture needs that is drawn again and again, and nothing else.

    Attributes:
        lines: all of them, those that have gone by above the screen, too.
        cursor_shown: whether it is.
        overflown: lines that were longer than the screen is wide.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""]
        self.row = self.column = 0
        self.cursor_shown = True
        self.overflown: list[str] = []

    def feed(self, written: str) -> None:
        for piece in _PIECE.finditer(written):
            if text := piece["text"]:
                line = self.lines[self.row]
                line = line[: self.column].ljust(self.column) + text + line[self.column + len(text) :]
                self.lines[self.row] = line
                self.column += len(text)
                if cell_len(line) > self.columns:
                    self.overflown.append(line)
            elif piece["control"] == "\r":
                self.column = 0
            elif piece["control"] == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            elif piece["what"] == "A":
                top = max(0, len(self.lines) - self.rows)
                self.row = max(top, self.row - int(piece["how"] or 1))
            elif piece["what"] == "K":
                assert piece["how"] == "2"
                self.lines[self.row] = ""
            elif piece["how"] == "?25":
                self.cursor_shown = piece["what"] == "h"
            else:
                assert piece["what"] == "m", piece[0]


def on_a_screen(
    columns: int,
    rows: int,
    *arguments: str | Path,
    at_each: Callable[[Screen, subprocess.Popen[bytes]], None] = lambda screen, process: None,
    **changes: str,
) -> tuple[int, Screen]:
    """The command on a terminal of that size: its exit code and what stands there in the end.

    Args:
        at_each: is called after each piece that the command has written.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (rows, columns))
    # Unbuffered, Python loses the rest of what a signal interrupts it in writing.
    env = environment(TERM="xterm-256color", PYTHONUNBUFFERED="", **changes)
    process = subprocess.Popen([COMMAND, *map(str, arguments)], env=env, stdin=slave, stdout=slave, stderr=slave)  # noqa: S603
    os.close(slave)
    screen, deadline = Screen(columns, rows), time.monotonic() + 120
    decoder, rest = codecs.getincrementaldecoder("utf-8")(), ""
    try:
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            written = rest + decoder.decode(piece)
            rest = _BEGUN.findall(written)[0]
            screen.feed(written.removesuffix(rest))
            at_each(screen, process)
        return process.wait(10), screen
    finally:
        process.kill()
        process.wait()
        os.close(master)
