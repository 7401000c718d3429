"""Shell commands of the documentation, run in this process or looked over."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import typer

from tests.end_to_end.commands import Answer, invoke
from tests.website.fences import ROOT
from website.command_line import commands


def lines_of(text: str) -> list[list[str]]:
    """The commands of a block as lists of words, without comments and empty lines."""
    joined = text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def run(words: list[str], more: str) -> Answer:
    """Run a `gradlab` command in the working directory, stdout into a file where it says so."""
    program, *arguments = words
    assert program == "gradlab", f"{program}: can't be run here; say why by <!-- parsed: ... -->"
    target = None
    if ">" in arguments:
        at = arguments.index(">")
        arguments, (target,) = arguments[:at], arguments[at + 1 :]
    answer = invoke(*arguments, *shlex.split(more))
    if target is not None:
        Path(target).write_text(answer.stdout, encoding="utf-8")
    return answer


def look_over(words: list[str]) -> None:
    """Check a command that isn't run: every option, file and target that it names is there."""
    program = Path(words[0]).name
    check = _PROGRAMS.get("python" if program.startswith("python") else program)
    assert check is not None, f"nothing is known of {program}"
    check(words[1:])


def _gradlab(arguments: list[str]) -> None:
    if arguments == ["--version"] or arguments == ["--help"]:
        return
    command = commands()[arguments[0]]
    try:
        command.make_context(arguments[0], [word for word in arguments[1:] if word not in (">", "|")])
    except typer.TyperException as error:
        raise AssertionError(f"gradlab {' '.join(arguments)}: {error}") from None


def _make(arguments: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(arguments) <= set(targets)


def _pip(arguments: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert arguments[0] == "install"
    for option, value in pairwise(arguments):
        if option == "--constraint":
            assert (ROOT / value).is_file()
        if option == "--editable":
            _, _, extra = value.removesuffix("]").partition("[")
            assert not extra or extra in project["optional-dependencies"], extra


def _python(arguments: list[str]) -> None:
    assert arguments[:2] == ["-m", "venv"] or (ROOT / arguments[1].replace(".", "/")).is_dir()


def _anything(arguments: list[str]) -> None:
    """Another program, whose options are its own affair."""


_PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "gradlab": _gradlab,
    "make": _make,
    "pip": _pip,
    "python": _python,
    **dict.fromkeys(["", "cd", "git", "mkdir", "pytest", "tensorboard"], _anything),  # Path(".").name is ""
}
