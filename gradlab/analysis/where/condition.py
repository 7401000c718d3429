"""Which trials a comparison looks at: conditions such as `depth > 10 and activation == 'relu'`.

The language, a small part of Python's:

- columns of the trials table by their name, `depth` or `train.momentum`; numbers; text in quotes; True, False, None;
- `== != < <= > >=`, chains of them, `in [...]`, `not in [...]`, `is None`, `is not None`;
- `and`, `or`, `not`; a column that holds true and false is a condition of its own;
- `+ - * /`, `abs(x)`, `log10(x)`, which are computed in float64: x/0 is infinite, log10(0) too, 0/0 null
  (whole numbers are compared with one another exactly);
- `like(column, 'leaky*')`: text that matches a pattern of `*`, `?` and `[abc]`, large and small letters apart.

A null (or NaN) satisfies no comparison but `!=`, `not in` and `is None`; `not` turns round what it finds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.where.nodes import Node, columns_of
from gradlab.analysis.where.syntax import read_condition
from gradlab.analysis.where.values import computed, satisfied
from gradlab.errors import UsageError
from gradlab.store.reading import Trials


@dataclass(frozen=True)
class Where:
    """A condition on trials.

    Attributes:
        text: the condition as it was written, on one line.
        names: the columns that it uses, in order of appearance.
        condition: what it says.
    """

    text: str
    names: tuple[str, ...]
    condition: Node = field(repr=False)

    def mask(self, trials: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """`[trial]`, which rows of the trials table satisfy the condition.

        Raises:
            UsageError: a column that the table has not, or that holds something else than the condition takes it
                for; a text that no trial has; an expression that is not a condition.
        """
        return satisfied(self.text, self.condition, trials)

    def numbers(self, trials: pd.DataFrame) -> npt.NDArray[np.float64]:
        """`[trial]`, the value where this is an expression such as `depth / width`; of a condition 1 or 0.

        Raises:
            UsageError: as `mask`; it is text.
        """
        return computed(self.text, self.condition, trials)


def parse_where(text: str) -> Where:
    """The condition that `text` says, not yet compared with any table.

    Raises:
        UsageError: it cannot be understood, is too long or too deep, or has something in it that conditions have not.
    """
    line, condition = read_condition(text)
    return Where(line, tuple(dict.fromkeys(column.name for column in columns_of(condition))), condition)


def chosen_trials(trials: Trials, where: str | None) -> Trials:
    """Those that satisfy a condition; all of them if there is none.

    Raises:
        UsageError: it can't be understood, or no trial satisfies it.
    """
    if where is None:
        return trials
    chosen = trials.where(parse_where(where).mask(trials.frame))
    if not len(chosen.frame):
        raise UsageError(f"--where {where}: none of {len(trials.frame)} trials satisfies it")
    return chosen
