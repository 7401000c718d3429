"""Errors that a user can cause or mend, each with a message, a remedy and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_REGRESSION = EXIT_NOT_REPRODUCED = 1
EXIT_USAGE = 2
EXIT_BASELINE = 3
EXIT_TRIALS_FAILED = 4
EXIT_MACHINE = 5
EXIT_INTERRUPTED = 130


class GradlabError(Exception):
    """What a user needs to know and can do something about; `cli.main` prints it and exits with `exit_code`."""

    exit_code = EXIT_USAGE


class UsageError(GradlabError):
    """A command line, a path or a combination of options that makes no sense."""


class SettingError(UsageError):
    """A setting of the config that turns out unusable when it is put to use: a file, a function, the data.

    `setting` is its field path, such as `data.path`, and `value` what it was set to, where it matters which; whoever
    knows the config adds the place in the file.
    """

    def __init__(self, setting: str, message: str, value: object = None) -> None:
        self.setting, self.message, self.value = setting, message, value
        super().__init__(f"{setting}: {message}")

    def __reduce__(self) -> tuple[type[SettingError], tuple[str, str, object]]:
        """Sent from one process to another whole; an exception's own way knows only its text."""
        return type(self), (self.setting, self.message, self.value)


class BaselineError(GradlabError):
    """No baseline of a check, or one that cannot be compared; the message names the command that makes a right one."""

    exit_code = EXIT_BASELINE


class MachineError(GradlabError):
    """The machine said no: disk full, no permission, out of memory."""

    exit_code = EXIT_MACHINE


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a config.

    Attributes:
        place: `file:line:column` (counted from 1), or the option at fault, such as `--set model.depth`.
        message: what is wrong, with the key's path and, where there is one, the remedy.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class ConfigError(GradlabError):
    """Everything wrong with a config, all of it at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
