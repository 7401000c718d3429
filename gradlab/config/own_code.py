"""Code of the user's own that a config names: the one way in which a config runs code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gradlab.config.sweep import Trial
from gradlab.errors import ConfigError, Problem

if TYPE_CHECKING:
    from gradlab.config.load import LoadedConfig


def own_code(trials: Iterable[Trial]) -> Iterator[tuple[str, str]]:
    """Field path and `file.py:function` (or `package.module:function`) of every function that trials name, once."""
    named: dict[tuple[str, str], None] = {}
    for trial in trials:
        if trial.data.factory:
            named["data.factory", trial.data.factory] = None
        if trial.model.factory:
            named["model.factory", trial.model.factory] = None
        if trial.model.activation.is_function:
            named["model.activation", trial.model.activation.name] = None
    return iter(named)


def refuse_own_code(config: LoadedConfig) -> None:
    """Raise a ConfigError that names every function of the user's own."""
    problems = [
        Problem(config.place_of(setting, reference), f"{setting}: {reference} is code, which --no-custom-code refuses")
        for setting, reference in own_code(config.trials)
    ]
    if problems:
        raise ConfigError(problems)
