"""The command again and again, in forks of one process that has loaded everything: many short lives at little cost.

As a program: reads what to do from stdin, a line of JSON each, and answers with a line of JSON on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Life:
    """How a command ended.

    Attributes:
        code: its exit code; minus the number of the signal that killed it.
        seconds: that it lived.
        said: on stdout and stderr.
    """

    code: int
    seconds: float
    said: str


class Forks:
    """The other side of `serve`; a context manager."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", "from tests.end_to_end.forks import serve; serve()"]
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(  # noqa: S603
            command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)

    def live(
        self, folder: Path, *arguments: str | Path, killed_after: float | None = None, copies: int = 1
    ) -> list[Life]:
        """Commands that start in one moment, from t = 0 in `main`, each killed after some seconds or left alone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"folder": str(folder), "arguments": list(map(str, arguments)), "after": killed_after, "copies": copies}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return [Life(**life) for life in json.loads(self.process.stdout.readline())]


def serve() -> None:
    """Run commands as they are asked for."""
    import gradlab.analysis.summary
    import gradlab.commands.application
    import gradlab.report.closing
    import gradlab.report.console
    import gradlab.report.failures
    import gradlab.report.plain
    import gradlab.report.progress
    import gradlab.runner

    assert gradlab.runner
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_lives(json.loads(line))), flush=True)


def _lives(order: dict[str, Any]) -> list[dict[str, Any]]:
    folder = Path(order["folder"])
    waiting, go = os.pipe()
    processes = []
    for copy in range(order["copies"]):
        if (process := os.fork()) == 0:
            os.close(go)
            os.read(waiting, 1)
            _live(order["arguments"], folder / f"said-{copy}")
        processes.append(process)
    os.close(waiting)
    started = time.monotonic()
    os.close(go)
    if order["after"] is not None:
        time.sleep(order["after"])
        for process in processes:
            os.kill(process, signal.SIGKILL)
    lives = {}
    while len(lives) < len(processes):
        process, status = os.wait()
        lives[process] = (os.waitstatus_to_exitcode(status), time.monotonic() - started)
    said = [(folder / f"said-{copy}").read_text() for copy in range(len(processes))]
    return [
        dict(zip(("code", "seconds", "said"), (*lives[p], text), strict=True))
        for p, text in zip(processes, said, strict=True)
    ]


def _live(arguments: Sequence[str], said: Path) -> None:
    """The rest of a forked process's life."""
    code = 70
    try:
        os.setsid()
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        sys.argv = ["gradlab", *arguments]
        from gradlab.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        os._exit(code)
