"""The commands with their arguments and options, from the program itself."""

from __future__ import annotations

import inspect
import re

import typer

from gradlab import errors
from gradlab.commands.application import app
from website.blocks import Generator, table

_EXIT_CODES = {
    0: "done; `check`: no regression",
    errors.EXIT_REGRESSION: "`check` found a regression; `gallery`: a statement is not reproduced",
    errors.EXIT_USAGE: "usage or config error: one message, with `file:line:column` where a file is at fault",
    errors.EXIT_BASELINE: "`check`: no baseline, or one that cannot be compared; the message says how to make it",
    errors.EXIT_TRIALS_FAILED: "trials failed, the others are written (a diverged trial is a result, not a failure)",
    errors.EXIT_MACHINE: "the machine: disk full, no permission, out of memory; what is finished is kept and readable",
    errors.EXIT_INTERRUPTED: "interrupted; everything that is finished is kept",
}


def generators() -> dict[str, Generator]:
    """Name of a generated part -> what makes it: the list of commands, each command, the exit codes."""
    made: dict[str, Generator] = {f"command {name}": _command(name) for name in commands()}
    made["commands"] = _list
    made["exit codes"] = lambda: table(
        ["exit code", "means"], [[str(code), told] for code, told in _EXIT_CODES.items()]
    )
    return made


def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command by its name, in the order of `gradlab --help`."""
    group = typer.main.get_command(app)
    named = group.commands.items() if isinstance(group, typer.core.TyperGroup) else ()
    return {name: command for name, command in named if isinstance(command, typer.core.TyperCommand)}


def _list() -> str:
    rows = [[f"[`gradlab {name}`](#gradlab-{name})", _help(command)[0]] for name, command in commands().items()]
    return table(["command", "does"], rows)


def _command(name: str) -> Generator:
    def made() -> str:
        command = commands()[name]
        context = command.context_class(command, info_name=f"gradlab {name}")
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
        rows = [[_spelling(record[0]), _told(record[1])] for record in records if record]
        arguments = [spelling for spelling, _ in rows if not spelling.startswith("`")]
        usage = " ".join(["gradlab", name, "[OPTIONS]", *arguments])
        return "\n\n".join([f"```text\n{usage}\n```", *_help(command), table(["option", "does"], rows)])

    return made


def _help(command: typer.core.TyperCommand) -> list[str]:
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]


def _spelling(names: str) -> str:
    """An option's names as code, its value beside them; an argument's name alone, which says what it is."""
    if not names.startswith("-"):
        return re.sub(r" <[^>]*>$", "", names)
    *options, last = names.split(", ")
    option, _, value = last.partition(" ")
    return f"`{', '.join([*options, option])}` {re.sub('[<>]', '', value)}".strip()


def _told(text: str) -> str:
    """A description with its remarks, such as the default, in round brackets."""
    text = re.sub(r"\s+\[required\]", "", text)
    return re.sub(r"\s+\[(.*?)\]", lambda remark: f" ({_range(remark[1])})", text)


def _range(remark: str) -> str:
    return re.sub(r"(\d+)<=x<=(\d+)", r"\1 to \2", re.sub(r"x>=(\d+)", r"\1 or more", remark)).replace(
        "default: ", "default "
    )
