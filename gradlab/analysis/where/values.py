"""A condition over the trials table: every expression an array with one value per trial."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlab.analysis.diagnosis import DIAGNOSES
from gradlab.analysis.where.columns import Flags, Kind, Values, read_column, shortened, unknown_column, unknown_text
from gradlab.analysis.where.nodes import (
    Arithmetic,
    Column,
    Comparison,
    Function,
    Joined,
    Like,
    Literal,
    Membership,
    Node,
    Not,
    Span,
    is_null,
)
from gradlab.analysis.where.syntax import fault
from gradlab.errors import UsageError

_OUTCOMES = {"status": ("completed", "diverged", "failed"), "diagnosis": DIAGNOSES}
"""Words for how a trial ended: to ask for one that no trial of these runs has come to is no slip of the pen."""

_SINGULAR: dict[Kind, str] = {
    "numbers": "a number",
    "text": "text",
    "flags": "true or false",
    "nothing": "null",
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {"-": np.negative, "abs": np.abs, "log10": np.log10}


@dataclass(frozen=True)
class _Scope:
    text: str
    trials: pd.DataFrame
    columns: dict[str, Values]

    def fault(self, span: Span, message: str) -> UsageError:
        return fault(self.text, span, message)

    def source(self, span: Span) -> str:
        return shortened(self.text[slice(*span)])

    def described(self, node: Node, values: Values) -> str:
        what = values.described() if isinstance(node, Column) else f"is {_SINGULAR[values.kind]}"
        return f"{self.source(node.span)} {what}"


def satisfied(text: str, condition: Node, trials: pd.DataFrame) -> Flags:
    """`[trial]`, which trials satisfy the condition, whose text is for messages.

    Raises:
        UsageError: see `Where.mask`.
    """
    with np.errstate(all="ignore"):
        holds = _condition(_Scope(text, trials, {}), condition)
    return np.broadcast_to(holds, len(trials)).copy()


def computed(text: str, expression: Node, trials: pd.DataFrame) -> npt.NDArray[np.float64]:
    """`[trial]`, the value of an expression, whose text is for messages: NaN for null; of a condition 1 or 0.

    Raises:
        UsageError: see `Where.mask`; the expression is text.
    """
    scope = _Scope(text, trials, {})
    with np.errstate(all="ignore"):
        values = _evaluate(scope, expression)
    if values.kind == "text":
        raise scope.fault(expression.span, f"{scope.described(expression, values)}, not numbers")
    numbers = np.where(values.null, np.nan, values.data.astype(np.float64))
    return np.broadcast_to(numbers, len(trials)).copy()


def _evaluate(scope: _Scope, node: Node) -> Values:
    match node:
        case Literal():
            return _constant(node)
        case Column():
            return _column(scope, node)
        case Like():
            return _flags(_matches(scope, node))
        case Comparison():
            return _flags(_compared(scope, node))
        case Membership():
            return _flags(_among(scope, node))
        case Not(operand=operand):
            return _flags(~_condition(scope, operand))
        case Joined(word=word, operands=operands):
            join = np.logical_and if word == "and" else np.logical_or
            holds = _condition(scope, operands[0])
            for operand in operands[1:]:
                holds = join(holds, _condition(scope, operand))
            return _flags(holds)
        case Function(name=name, operand=operand):
            return _reals(_FUNCTIONS[name](_numbers(scope, operand, name)))
        case Arithmetic(operator=sign, left=left, right=right):
            return _reals(_COMPUTE[sign](_numbers(scope, left, sign), _numbers(scope, right, sign)))


def _constant(node: Literal) -> Values:
    value = node.value
    if value is None:
        return Values("nothing", np.zeros(1, np.bool_), np.ones(1, np.bool_))
    kind: Kind = "text" if isinstance(value, str) else "flags" if isinstance(value, bool) else "numbers"
    return Values(kind, np.array([value], object if kind == "text" else None), np.zeros(1, np.bool_))


def _flags(data: Flags) -> Values:
    return Values("flags", data, np.zeros(1, np.bool_))


def _reals(data: npt.NDArray[np.float64]) -> Values:
    return Values("numbers", data, np.isnan(data))


def _column(scope: _Scope, node: Column) -> Values:
    if node.name not in scope.trials.columns:
        raise scope.fault(node.span, unknown_column(scope.trials, node.name))
    if node.name not in scope.columns:
        scope.columns[node.name] = read_column(scope.trials[node.name])
    return scope.columns[node.name]


def _condition(scope: _Scope, node: Node) -> Flags:
    values = _evaluate(scope, node)
    if values.kind in ("flags", "nothing"):
        return values.data & ~values.null
    if isinstance(node, Literal):
        remedy = "compare a column with it; for one of several values write `column in [..., ...]`"
    else:
        example = "> 0" if values.kind == "numbers" else "== '...'"
        remedy = f"compare it with something, such as `{scope.source(node.span)} {example}`"
    raise scope.fault(node.span, f"{scope.described(node, values)}, not a condition; {remedy}")


def _numbers(scope: _Scope, node: Node, sign: str) -> npt.NDArray[np.float64]:
    values = _evaluate(scope, node)
    if values.kind in ("text", "flags"):
        raise scope.fault(node.span, f"{scope.described(node, values)}, but {sign} takes numbers")
    return np.where(values.null, np.nan, values.data.astype(np.float64))


def _compared(scope: _Scope, node: Comparison) -> Flags:
    sides = [(operand, _evaluate(scope, operand)) for operand in node.operands]
    holds = np.ones(1, np.bool_)
    for sign, (left, right) in zip(node.operators, pairwise(sides), strict=True):
        if sign == "==":
            _check_held(scope, *left, right[0])
            _check_held(scope, *right, left[0])
        if sign in ("==", "!="):
            holds = holds & (_equal(scope, left, right) == (sign == "=="))
        else:
            holds = holds & _ordered(scope, sign, left, right)
    return holds


def _equal(scope: _Scope, left: tuple[Node, Values], right: tuple[Node, Values]) -> Flags:
    (one, mine), (other, theirs) = left, right
    if is_null(one) or is_null(other):
        return mine.null & theirs.null
    return _agreeing(scope, "==", left, right)


def _ordered(scope: _Scope, sign: str, left: tuple[Node, Values], right: tuple[Node, Values]) -> Flags:
    for node, values in (left, right):
        if is_null(node) or values.kind == "flags":
            raise scope.fault(node.span, f"{scope.described(node, values)}, which {sign} cannot order")
    return _agreeing(scope, sign, left, right)


def _agreeing(scope: _Scope, sign: str, left: tuple[Node, Values], right: tuple[Node, Values]) -> Flags:
    mine, theirs = left[1], right[1]
    if not _alike(mine, theirs):
        # The column holds what it holds: the place to mend is the literal.
        first, second = (right, left) if isinstance(left[0], Literal) else (left, right)
        raise scope.fault(second[0].span, f"{scope.described(*first)}, but {scope.described(*second)}")
    if "nothing" in (mine.kind, theirs.kind):
        return np.zeros(1, np.bool_)
    present = ~mine.null & ~theirs.null
    return present & np.asarray(_COMPARE[sign](mine.data, theirs.data), np.bool_)


def _alike(one: Values, other: Values) -> bool:
    return one.kind == other.kind or "nothing" in (one.kind, other.kind)


def _among(scope: _Scope, node: Membership) -> Flags:
    values = _evaluate(scope, node.operand)
    for item in node.items:
        if not _alike(values, _constant(item)):
            both = f"{scope.described(node.operand, values)}, but {scope.described(item, _constant(item))}"
            raise scope.fault(item.span, both)
        if not node.negated:
            _check_held(scope, node.operand, values, item)
    sought = [item.value for item in node.items if item.value is not None]
    nulls = values.null if len(sought) < len(node.items) else np.zeros(1, np.bool_)
    if values.kind == "text":
        found = _in_set(values, frozenset(map(str, sought)))
    elif values.kind == "nothing":
        found = np.zeros(1, np.bool_)
    else:
        # Apart, as in one array the real numbers among them would make large whole ones real, and inexact, too.
        reals = [value for value in sought if isinstance(value, float)]
        others = [value for value in sought if not isinstance(value, float)]
        found = (np.isin(values.data, reals) | np.isin(values.data, others)) & ~values.null
    return np.asarray((found | nulls) != node.negated, np.bool_)


def _matches(scope: _Scope, node: Like) -> Flags:
    values = _column(scope, node.column)
    if values.kind in ("numbers", "flags"):
        raise scope.fault(node.column.span, f"{scope.described(node.column, values)}, but like takes text")
    pattern = re.compile(fnmatch.translate(node.pattern))
    return _in_set(values, frozenset(filter(pattern.match, values.texts)))


def _in_set(values: Values, texts: frozenset[str]) -> Flags:
    return np.fromiter((text in texts for text in values.data), np.bool_, len(values.data)) & ~values.null


def _check_held(scope: _Scope, node: Node, values: Values, sought: Node) -> None:
    """Refuse a text that no trial has in the column: nearly always a slip of the pen."""
    if not (isinstance(node, Column) and isinstance(sought, Literal) and isinstance(sought.value, str)):
        return
    if scope.trials.empty or values.kind not in ("text", "nothing") or sought.value in _OUTCOMES.get(node.name, ()):
        return
    if sought.value not in values.texts:
        message = f"no trial has {node.name} {scope.source(sought.span)}; {unknown_text(values, sought.value)}"
        raise scope.fault(sought.span, message)
