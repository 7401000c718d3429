"""The numbers of a framework's evaluations, by the names that a callback was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Evaluations:
    """The evaluations of one training.

    Args:
        usual_loss: what the framework calls the loss that nobody named.
        eval_loss, eval_metric: names of the numbers for the columns that are called so; None means no such number.
    """

    def __init__(self, usual_loss: str, eval_loss: str, eval_metric: str | None) -> None:
        self._names = {"eval_loss": eval_loss, "eval_metric": eval_metric}
        self._usual_loss = usual_loss
        self._found: list[str] = []

    def columns(self, evaluation: Mapping[str, Any]) -> dict[str, Any]:
        """What one evaluation has for the columns."""
        self._found += [name for name in evaluation if name not in self._found]
        names = {column: name for column, name in self._names.items() if name is not None}
        return {column: evaluation[name] for column, name in names.items() if name in evaluation}

    def missing(self) -> str | None:
        """Which numbers were asked for by name and never came."""
        known = {None, self._usual_loss, *self._found}
        told = [f"{column}={name!r}" for column, name in self._names.items() if name not in known]
        if not told:
            return None
        instead = f"but {', '.join(self._found)}" if self._found else "nor anything else"
        return f"GradlabCallback({', '.join(told)}): no evaluation had it, {instead}"
