"""What a config is expected to show: the statements in `NAME.expect.yaml`, beside the config `NAME.yaml`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gradlab.config.document import Document, Place
from gradlab.config.fields import did_you_mean
from gradlab.config.load import read_text
from gradlab.config.positions import read_yaml
from gradlab.config.problems import Fault, faults
from gradlab.config.section import Section
from gradlab.errors import ConfigError, UsageError

SUFFIX = ".expect.yaml"
"""How the files of statements end."""

Text = Annotated[str, Field(min_length=1, max_length=500)]
Take = Literal["mean", "geometric_mean", "median", "variance", "least", "greatest"]


class Statement(Section):
    """One claim about a run, and the figure that it must satisfy."""

    says: Text = Field(description="the claim, a sentence")
    measure: Text = Field(description="a number, or a condition, of every trial, from columns and statistics")
    where: str | None = Field(None, description="the trials that it is about; all without it")
    step: Literal["first", "last"] | Annotated[int, Field(ge=0)] | None = Field(
        None, description="the record of statistics that are recorded more than once"
    )
    take: Take = Field("mean", description="over the trials of a group")
    by: list[Text] = Field(default_factory=list, description="columns that make groups; it must hold in each of them")
    over: str | None = Field(None, description="trials by whose figure it is divided")
    minus: str | None = Field(None, description="trials whose figure is subtracted")
    along: str | None = Field(None, description="the slope of the groups' figures along this")
    at_least: float | None = None
    at_most: float | None = None
    because: Text = Field(description="where the bounds come from, and what the margin is for")

    @model_validator(mode="after")
    def _judged(self) -> Statement:
        if self.at_least is None and self.at_most is None:
            raise _error("needs a bound: at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise _error("at_least is above at_most")
        if self.over is not None and self.minus is not None:
            raise _error("has both over and minus; a figure is either divided or subtracted")
        if self.along is not None and not self.by:
            raise _error("along needs by: the slope is that of several groups")
        return self


class Seconds(Section):
    """About how long the trainings take on two cores."""

    quick: float = Field(gt=0)
    full: float = Field(gt=0)


class Expectation(Section):
    """What is known, who found it, and the statements that say so."""

    paper: Text = Field(description="authors and year")
    source: Text = Field(description="title, where it appeared, figure or equation")
    shows: Text = Field(description="the result in one sentence")
    claims: Text = Field(description="what the paper says, in other words")
    here: Text = Field(description="what is done otherwise here, and what came out otherwise")
    figure: Text = Field(description="name of the figure that shows it, as `gradlab report --figures` writes it")
    seconds: Seconds
    quick: dict[str, Any] = Field(default_factory=dict, description="field path -> its value with --quick")
    statements: list[Statement] = Field(min_length=1)


@dataclass(frozen=True)
class Exhibit:
    """A config and what it is expected to show.

    Attributes:
        config: the YAML file that `gradlab run` takes.
    """

    name: str
    config: Path
    expectation: Expectation

    def overrides(self, quick: bool) -> list[str]:
        """What to override of the config, as `PATH=VALUE`."""
        return [f"{path}={json.dumps(value)}" for path, value in self.expectation.quick.items()] if quick else []


def exhibits(folder: Path) -> list[Exhibit]:
    """Every config in `folder` that has statements, by name.

    Raises:
        UsageError: there are none.
        ConfigError: a file of statements is wrong.
    """
    names = sorted(path.name.removesuffix(SUFFIX) for path in folder.glob(f"*{SUFFIX}"))
    if not names:
        raise UsageError(f"{folder}: no file in it ends in {SUFFIX}; there is nothing to show")
    return [Exhibit(name, folder / f"{name}.yaml", read_expectation(folder / f"{name}{SUFFIX}")) for name in names]


def read_expectation(path: Path) -> Expectation:
    """The statements in a file.

    Raises:
        ConfigError: with every problem, sorted by place.
    """
    document = read_yaml(read_text(path), lambda line, column: Place(0, line, column, f"{path}:{line}:{column}"))
    document.settle()
    try:
        found = Expectation.model_validate(document.root)
    except ValidationError as error:
        for fault in _faults(error):
            fault.report(document)
        raise ConfigError(document.sorted_problems()) from None
    _refuse(document)
    return found


def _refuse(document: Document) -> None:
    if document.problems:
        raise ConfigError(document.sorted_problems())


def _faults(error: ValidationError) -> Iterator[Fault]:
    """What is wrong, unknown keys with the keys of these sections for a hint."""
    for fault in faults(error):
        if fault.hint is None:
            yield fault
        else:
            known = {1: Expectation.model_fields, 2: Seconds.model_fields}.get(len(fault.loc), Statement.model_fields)
            yield replace(fault, hint=partial(did_you_mean, str(fault.loc[-1]), known))


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("statement", "{told}", {"told": f"the statement {message}"})
