"""From a YAML file to a checked experiment and its trials, or to everything that is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gradlab.config.bounded import UnreadableFileError, read_bounded
from gradlab.config.checks import check_count, check_options, check_seeds, check_sweep, momentum_note
from gradlab.config.document import Document, Loc, Place, shorten
from gradlab.config.fields import SECTIONS
from gradlab.config.overrides import apply_overrides
from gradlab.config.positions import read_yaml
from gradlab.config.problems import described, faults
from gradlab.config.schema import PARTIAL, Experiment, Section, Sweep
from gradlab.config.sweep import Failure, Trial, expansion, joint_failures
from gradlab.errors import ConfigError, Problem

MAX_BYTES = 2**19
"""The largest config that is read."""

_FIELD = re.compile(rf"\b(?:{'|'.join(SECTIONS)})\.\w+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class LoadedConfig:
    """A config that can be run.

    Attributes:
        trials: every trial of the sweep, in order.
        directory: the config's folder, to which the paths in it are relative.
        notes: what the user may want to know: repeated trials left out, an exclude entry without effect.
        document: the file's content with its places, overrides applied.
    """

    experiment: Experiment
    trials: tuple[Trial, ...]
    directory: Path
    notes: tuple[str, ...]
    document: Document

    def place_of(self, setting: str, value: object = None) -> str:
        """Where the field path `setting` got its `value`: `file:line:column`, or the option that set it."""
        written = tuple(setting.split("."))
        swept = [loc for loc in self.document.values if setting in loc]
        for loc in [written, *swept]:
            if value is not None and self.document.get(*loc) == value:
                return self.document.at_value(loc).text
        if written not in self.document.values and swept:
            return self.document.at_value(min(swept, key=len)).text
        return self.document.at_value(written).text


def load(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read, check and expand the config at `path`.

    Args:
        path: a YAML file; messages name it as it is given here.
        overrides: `PATH=VALUE` each, the value in YAML; they replace what the file says.

    Raises:
        ConfigError: with every problem of the config, sorted by place.
    """
    source = str(path)
    document = read_yaml(read_text(path), lambda line, column: Place(0, line, column, f"{source}:{line}:{column}"))
    if not isinstance(document.root, dict):
        told = "the config is empty" if document.root is None else f"a config is a mapping ({described(document.root)})"
        if not document.problems:
            document.report(document.at_value(()), f"{told}; `gradlab init` writes one to start from")
        raise ConfigError(document.sorted_problems())
    notes = apply_overrides(document, overrides)
    if "name" not in document.root:
        document.root["name"] = path.stem if _NAME.fullmatch(path.stem) else "experiment"
    experiment = _check(document)
    expanded = expansion(experiment)
    _report_failures(document, expanded.failures)
    if not expanded.trials and not document.problems:
        document.report(document.at_key(("sweep", "exclude")), "sweep.exclude takes out every point of the sweep")
    if document.problems:
        raise ConfigError(document.sorted_problems())
    for index in expanded.unmatched:
        place = document.at_value(("sweep", "exclude", index))
        notes.append(f"{place.text}: sweep.exclude[{index}] matches no point")
    if expanded.repeated:
        notes.append(f"{expanded.repeated:,} repeated trials left out: they differ from others in nothing that is used")
    if unused := momentum_note(document):
        notes.append(unused)
    return LoadedConfig(experiment, expanded.trials, path.absolute().parent, tuple(notes), document)


def read_text(path: Path) -> str:
    """The text of a YAML file of the user's.

    Raises:
        ConfigError: it can't be read, is too large or is no text.
    """

    def fail(message: str, line: int = 1, column: int = 1) -> ConfigError:
        return ConfigError([Problem(f"{path}:{line}:{column}", message)])

    try:
        content = read_bounded(path, MAX_BYTES)
    except UnreadableFileError as error:
        if isinstance(error.cause, FileNotFoundError):
            raise fail("there is no such file; `gradlab init` writes a config to start from") from None
        raise fail(f"the file {error.reason}") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        lines = content[: error.start].decode("utf-8").split("\n")
        raise fail("the file is not UTF-8 text", len(lines), len(lines[-1]) + 1) from None


def _check(document: Document) -> Experiment:
    """The experiment in `document`; its sections may miss an option that the sweep supplies.

    Raises:
        ConfigError: something is wrong with it.
    """
    readable = not document.problems
    document.settle()
    experiment, faulty = _validate(document)
    before = len(document.problems)
    check_sweep(document)
    check_count(document)
    if len(document.problems) > before:
        faulty.add("sweep")
    check_seeds(document)
    faulty |= check_options(document)
    if experiment is not None and not document.problems:
        return experiment
    if readable and "sweep" not in faulty:
        _report_joint(document, faulty)
    raise ConfigError(document.sorted_problems())


def _validate(document: Document) -> tuple[Experiment | None, set[Any]]:
    """The experiment, or None and the parts that pydantic finds at fault, which it reports."""
    try:
        return Experiment.model_validate(document.root, context=PARTIAL), set()
    except ValidationError as error:
        found = [fault for fault in faults(error) if fault.loc[0] != "seeds"]
    for fault in found:
        fault.report(document)
    return None, {fault.loc[0] for fault in found}


def _report_joint(document: Document, faulty: set[Any]) -> None:
    """Report settings that do not go together in the sections that are right by themselves."""
    sweep = Sweep.model_validate(document.get("sweep") or {})
    base: dict[str, Section] = {}
    for name, section in SECTIONS.items():
        if name not in faulty:
            base[name] = section.model_validate(document.get(name) or {}, context=PARTIAL)
    _report_failures(document, joint_failures(sweep, base))


def _report_failures(document: Document, failures: Iterable[Failure]) -> None:
    """Report settings that do not go together, each kind once with the first point at which they meet."""
    seen: set[tuple[Place, str]] = set()
    for failure in failures:
        error, section = failure.error, failure.section
        if isinstance(error, ValidationError) and section:
            swept = [path for path in failure.point if path.split(".")[0] == section]
            settings = ", ".join(f"{path} is {_shown(failure.point[path])}" for path in swept)
            messages = [fault.message for fault in faults(error, (section,))]
        else:
            swept = [path for path in failure.point if path in str(error)]
            settings, messages = "", [str(error)]
        for message in messages:
            written = _written(document, failure, swept, message)
            place = written or _failure_place(document, failure, swept, message)
            if (place, message) not in seen:
                seen.add((place, message))
                document.report(place, f"{message}, where {settings}" if settings and not written else message)


def _written(document: Document, failure: Failure, swept: list[str], message: str) -> Place | None:
    """The setting outside the sweep that the message names first, if it names none in the sweep."""
    named = [tuple(path.split(".")) for path in _FIELD.findall(message)]
    if failure.include is not None or any(path in message for path in swept):
        return None
    return next((document.values[loc] for loc in named if loc in document.values), None)


def _failure_place(document: Document, failure: Failure, swept: list[str], message: str) -> Place:
    """The include entry, the swept key that the message names, or the section at fault outside the sweep."""
    if failure.include is not None:
        return document.at_value(("sweep", "include", failure.include))
    named = sorted((path for path in swept if path in message), key=len, reverse=True) or swept
    if not named:
        return document.at_key((failure.section,)) if failure.section else document.at_value(())
    mappings: list[Loc] = [
        ("sweep", "grid"),
        *(("sweep", "zip", i) for i in range(len(document.get("sweep", "zip") or []))),
    ]
    return next(document.keys[(*loc, named[0])] for loc in mappings if (*loc, named[0]) in document.keys)


def _shown(value: Any) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value))
